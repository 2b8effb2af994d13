"""Whichever way a process ends, and whatever rank it has: what it logged is there, under a name of its own."""

from __future__ import annotations

import pytest


def test_what_is_logged_before_os_exit_is_there(bench):
    """`os._exit` passes over atexit; forked children end by it."""
    ran = bench.run(
        """
        import os, pickle, threading
        import _studio_track as t
        t.log({"parent": 1.0})
        assert pickle.loads(pickle.dumps(os._exit)) is os._exit and os._exit.__name__ == "_exit"
        for i in range(3):
            if not os.fork():
                t.log({f"child{i}": float(i)}, step=7)
                os._exit(i)
        ended = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3))
        assert ended == [0, 1, 2]
        thread = threading.Thread(target=os._exit, args=(5,))
        t.log({"parent": 2.0})
        thread.start(); thread.join()
        """
    )
    assert (ran.code, ran.err) == (5, "")
    found = ran.curves.summary()
    assert sorted(found) == ["child0", "child1", "child2", "parent"]
    assert (found["parent"].count, found["parent"].last, found["child2"].step) == (2, 2.0, 7)


def test_forks_are_as_quiet_as_without_studio_and_lose_no_point(bench):
    """Python 3.12 and later warn of a fork while threads run; none of them may be ours."""
    ran = bench.run(
        """
        import os, signal, subprocess, sys
        import _studio_track as t
        for step in range(20):
            t.log({"parent": 1.0}, step=step)
            child = os.fork()
            if not child:
                t.log({"child": 1.0}, step=step)
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        t.log({"parent": 1.0}, step=20)
        subprocess.run([sys.executable, "-S", "-c", ""], check=True, preexec_fn=lambda: None)
        if sys.version_info < (3, 12):
            t.flush()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    assert (ran.code, ran.out, ran.err) == (-9, "", "")
    found = ran.curves.summary()
    assert (found["parent"].count, found["parent"].step, found["child"].count) == (21, 20, 20)


def test_sigterm_in_the_midst_of_a_flush_lets_it_write_what_it_holds(bench):
    """So end the workers of a multiprocessing pool: by themselves and by SIGTERM at the same time."""
    ran = bench.run(
        """
        import os, signal, sys, time
        import _studio_track as t
        sent = []
        def send(event, args):
            if event == "open" and "/metrics/" in str(args[0]) and not sent:
                sent.append(1)
                os.kill(os.getpid(), signal.SIGTERM)
        sys.addaudithook(send)
        t.log({"a": 1.0})
        t.flush()
        time.sleep(60)
        """
    )
    assert (ran.code, ran.out, ran.err) == (-15, "", "")
    assert ran.curves.summary()["a"].last == 1.0


def test_os_exit_is_left_alone_until_something_is_logged(bench):
    ran = bench.run("import os, posix; print(os._exit is posix._exit)")
    assert ran.out == "True\n"


LOG = """
    import _studio_track as t
    t.log({"loss": 1.0}); t.log_many("loss", None, [2.0, 3.0])
"""


@pytest.mark.parametrize(
    ("env", "name"),
    [
        ({}, "loss"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "loss"),
        ({"RANK": "3", "WORLD_SIZE": "4"}, "rank3/loss"),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, "rank1/loss"),
        ({"PMI_RANK": "2", "PMI_SIZE": "3"}, "rank2/loss"),
        ({"RANK": "3"}, "loss"),  # a variable of the script's own
        ({"RANK": "high", "WORLD_SIZE": "9"}, "loss"),
    ],
)
def test_a_rank_names_its_metrics(bench, env, name):
    ran = bench.run(LOG, **env)
    assert (ran.code, ran.err) == (0, "")
    assert ran.curves.names() == [name] and ran.curves.curve(name)[2].tolist() == [1.0, 2.0, 3.0]


def test_a_run_of_the_ranks_own_needs_no_other_names(bench, tmp_path):
    (tmp_path / "own").mkdir()
    source = LOG.replace("\n    t.log(", f"\n    t.attach({str(tmp_path / 'own')!r})\n    t.log(", 1)
    ran = bench.run(source, RANK="1", WORLD_SIZE="2")
    assert (ran.code, ran.err) == (0, "") and ran.streams == []
    from studio.tracking.metrics import Curves

    assert Curves.from_folder(tmp_path / "own" / "metrics").names() == ["loss"]
