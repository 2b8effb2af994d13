/* What a disk or a kill does to one chosen process of a run, at its n-th system call that changes something.
 *
 * Preloaded (LD_PRELOAD) into every process of a run; none of studio's modules is changed. Settings:
 *   FAULT_WHO   which process: guard, studio (the command line), script
 *   FAULT_OPS   which calls, names with commas; all: open,write,sync,rename,link,unlink,mkdir,truncate,flock,pipe
 *               (`open`: one that may create or write; `pipe`: a write to what is no file; others: of files only)
 *   FAULT_UNDER only files below these folders, with colons
 *   FAULT_AT    the call; 0 only counts
 *   FAULT_DO    an errno's number; `short`: half of it is written; `kill`: SIGKILL before the call (a write is torn);
 *               `both`: the supervisor and the guard, whichever of them calls
 *   FAULT_LAST  1: that call alone fails (default), 0: it and all after it
 *   FAULT_LOG   takes a line for each call counted: number, operation, path; `!` before what failed
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int chosen, log_fd = -1, at, number, last_only = 1, count;
static pid_t me;
static const char *ops, *under, *act;

static int ends_with(const char *word, const char *end) {
    size_t a = strlen(word), b = strlen(end);
    return a >= b && !strcmp(word + a - b, end);
}

static const char *role_of(const char *words, ssize_t size) {
    int python_module = 0, script = 0;
    for (const char *word = words; word < words + size; word += strlen(word) + 1) {
        if (ends_with(word, "/run/guard.py")) return "guard";
        if (python_module && !strcmp(word, "studio")) return "studio";
        if (ends_with(word, "/at_line.py")) return "studio";
        python_module = !strcmp(word, "-m");
        script |= ends_with(word, ".py");
    }
    return script ? "script" : "";
}

static ssize_t command_of(const char *pid, char *into, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s/cmdline", pid);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t got = syscall(SYS_read, fd, into, size - 1);
    close(fd);
    if (got < 0) got = 0;
    into[got] = 0;
    return got;
}

__attribute__((constructor)) static void begin(void) {
    char words[65536];
    const char *who = getenv("FAULT_WHO"), *log = getenv("FAULT_LOG"), *n = getenv("FAULT_AT");
    ssize_t got = command_of("self", words, sizeof words);
    if (!who || !n || strcmp(role_of(words, got), who)) return;
    ops = getenv("FAULT_OPS");
    under = getenv("FAULT_UNDER");
    act = getenv("FAULT_DO");
    at = atoi(n);
    if (!act) act = "0";
    number = atoi(act);
    if (getenv("FAULT_LAST")) last_only = atoi(getenv("FAULT_LAST"));
    if (log) log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd >= 0) {  /* out of the way of programs that count on low numbers */
        int high = fcntl(log_fd, F_DUPFD_CLOEXEC, 900);
        if (high >= 0) { close(log_fd); log_fd = high; }
    }
    me = getpid();
    chosen = 1;
}

static int listed(const char *list, char mark, const char *word, int as_prefix) {
    size_t size;
    for (const char *item = list; item && *item; item += size + (item[size] == mark)) {
        size = strcspn(item, mark == ',' ? "," : ":");
        if (as_prefix ? !strncmp(item, word, size) : strlen(word) == size && !strncmp(item, word, size)) return 1;
    }
    return 0;
}

static void kill_other(void) {
    char words[65536];
    DIR *all = opendir("/proc");
    struct dirent *entry;
    pid_t parent = getppid();
    while (all && (entry = readdir(all))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9') continue;
        char path[300], line[512];
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        ssize_t got = syscall(SYS_read, fd, line, sizeof line - 1);
        close(fd);
        if (got <= 0) continue;
        line[got] = 0;
        char *behind = strrchr(line, ')');
        int above = 0;
        if (!behind || sscanf(behind + 2, "%*c %d", &above) != 1) continue;
        pid_t pid = atoi(entry->d_name);
        if (pid != parent && above != me) continue;
        const char *role = role_of(words, command_of(entry->d_name, words, sizeof words));
        if ((pid == parent && !strcmp(role, "studio")) || (above == me && !strcmp(role, "guard"))) kill(pid, SIGKILL);
    }
}

static void die(void) {
    if (!strcmp(act, "both")) kill_other();
    syscall(SYS_kill, me, SIGKILL);
    for (;;) pause();
}

/* 0: go on; 1: errno is set, fail; 2: half of it; 3: half of it, then die */
static int fault(const char *op, int folder, const char *name) {
    if (!chosen || getpid() != me) return 0;
    int before = errno, fails;
    char path[8192] = "", link[64];
    if (!name || name[0] != '/') {
        if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t got = readlink(link, path, 4096);
        path[got < 0 ? 0 : got] = 0;
        if (name) { strcat(path, "/"); strncat(path, name, 4000); }
    } else strncat(path, name, 8000);
    errno = before;
    int file = path[0] == '/' && strncmp(path, "/dev/", 5) && strncmp(path, "/proc/", 6);
    if (!file && !strcmp(op, "write")) op = "pipe";
    else if (!file) return 0;
    if (ops && !listed(ops, ',', op, 0)) return 0;
    if (file && under && !listed(under, ':', path, 1)) return 0;
    int n = __atomic_add_fetch(&count, 1, __ATOMIC_SEQ_CST);
    fails = at && (last_only ? n == at : n >= at);
    if (log_fd >= 0) {
        char line[8400];
        int size = snprintf(line, sizeof line, "%s%d %s %s\n", fails ? "!" : "", n, op, path);
        syscall(SYS_write, log_fd, line, size);
    }
    if (!fails) return 0;
    int writes = !strcmp(op, "write") || !strcmp(op, "pipe");
    if (!strcmp(act, "kill") || !strcmp(act, "both")) {
        if (writes) return 3;
        die();
    }
    if (!strcmp(act, "short")) return writes ? 2 : 0;
    errno = number;
    return 1;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    int what = fault("write", fd, 0);
    if (what == 1) return -1;
    ssize_t done = real(fd, data, what && size > 1 ? size / 2 : size);
    if (what == 3) die();
    return done;
}

#define PWRITE(name, offset) \
    ssize_t name(int fd, const void *data, size_t size, offset where) { \
        REAL(name); \
        int what = fault("write", fd, 0); \
        if (what == 1) return -1; \
        ssize_t done = real(fd, data, what && size > 1 ? size / 2 : size, where); \
        if (what == 3) die(); \
        return done; \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC) && fault("open", AT_FDCWD, path)) return -1; \
        return real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        if (flags & (O_CREAT | O_WRONLY | O_RDWR | O_TRUNC) && fault("open", folder, path)) return -1; \
        return real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

int fsync(int fd) { REAL(fsync); return fault("sync", fd, 0) ? -1 : real(fd); }
int fdatasync(int fd) { REAL(fdatasync); return fault("sync", fd, 0) ? -1 : real(fd); }
int ftruncate(int fd, off_t size) { REAL(ftruncate); return fault("truncate", fd, 0) ? -1 : real(fd, size); }
int ftruncate64(int fd, off64_t size) { REAL(ftruncate64); return fault("truncate", fd, 0) ? -1 : real(fd, size); }
int flock(int fd, int how) { REAL(flock); return fault("flock", fd, 0) ? -1 : real(fd, how); }

int rename(const char *from, const char *to) {
    REAL(rename);
    return fault("rename", AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(renameat);
    return fault("rename", to_folder, to) ? -1 : real(from_folder, from, to_folder, to);
}

int link(const char *from, const char *to) { REAL(link); return fault("link", AT_FDCWD, to) ? -1 : real(from, to); }

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    REAL(linkat);
    return fault("link", to_folder, to) ? -1 : real(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path) { REAL(unlink); return fault("unlink", AT_FDCWD, path) ? -1 : real(path); }

int unlinkat(int folder, const char *path, int flags) {
    REAL(unlinkat);
    return fault("unlink", folder, path) ? -1 : real(folder, path, flags);
}

int rmdir(const char *path) { REAL(rmdir); return fault("unlink", AT_FDCWD, path) ? -1 : real(path); }
int mkdir(const char *path, mode_t mode) { REAL(mkdir); return fault("mkdir", AT_FDCWD, path) ? -1 : real(path, mode); }

int mkdirat(int folder, const char *path, mode_t mode) {
    REAL(mkdirat);
    return fault("mkdir", folder, path) ? -1 : real(folder, path, mode);
}
