# ruff: noqa: E501
"""Names that unpicklers have been made to call, as `module:attribute`, and names that nearly are admitted ones."""

from __future__ import annotations

GADGETS = """
os:system os:popen os:execv os:execve os:execl os:spawnl os:spawnv os:fork os:kill os:remove os:unlink os:rmdir
os:rename os:chmod os:symlink os:putenv os:_exit os:abort os:open os:read os:startfile posix:system posix:execv
posix:fork posix:_exit posix:posix_spawn nt:system nt:startfile os.path:exists subprocess:Popen subprocess:run
subprocess:call subprocess:check_call subprocess:check_output subprocess:getoutput subprocess:getstatusoutput
_posixsubprocess:fork_exec commands:getoutput popen2:popen2 pty:spawn platform:popen builtins:eval builtins:exec
builtins:compile builtins:open builtins:input builtins:__import__ builtins:getattr builtins:setattr builtins:delattr
builtins:vars builtins:globals builtins:locals builtins:map builtins:filter builtins:apply builtins:print
builtins:type builtins:object builtins:super builtins:breakpoint builtins:exit builtins:help builtins:memoryview
builtins:list builtins:dict builtins:tuple builtins:str builtins:int builtins:range builtins:slice builtins:property
builtins:iter builtins:next builtins:zip builtins:enumerate __builtin__:eval __builtin__:execfile __builtin__:file
__builtin__:open __builtin__:compile __builtin__:getattr __builtin__:reload __builtin__:input __builtin__:unicode
__builtin__:buffer __builtin__:xrange io:open io:FileIO _io:open _io:FileIO io:open_code codecs:open codecs:encode
codecs:decode _codecs:decode _codecs:lookup _codecs:register importlib:import_module importlib:reload
importlib._bootstrap:_load imp:load_source imp:load_module importlib.machinery:SourceFileLoader
importlib.util:spec_from_file_location pkgutil:find_loader pkgutil:get_loader runpy:run_module runpy:run_path
runpy:_run_code zipimport:zipimporter site:addsitedir code:interact code:InteractiveInterpreter codeop:compile_command
bdb:Bdb pdb:run pdb:set_trace pdb:Pdb profile:run cProfile:run trace:Trace doctest:debug_script doctest:testfile
timeit:timeit timeit:main pickle:loads pickle:load pickle:Unpickler pickle:whichmodule pickle:_loads _pickle:loads
_pickle:load cPickle:loads shelve:open marshal:loads marshal:load types:CodeType types:FunctionType types:LambdaType
types:MethodType types:ModuleType types:SimpleNamespace copyreg:_reconstructor copyreg:__newobj__
copyreg:add_extension copy_reg:_reconstructor operator:attrgetter operator:itemgetter operator:methodcaller
operator:call functools:partial functools:reduce functools:partialmethod itertools:starmap itertools:chain ctypes:CDLL
ctypes:PyDLL ctypes:cast ctypes:string_at ctypes:memmove ctypes:pythonapi _ctypes:dlopen multiprocessing:Process
multiprocessing.util:spawnv_passfds concurrent.futures:ProcessPoolExecutor threading:Thread _thread:start_new_thread
asyncio:create_subprocess_shell asyncio.unix_events:_UnixSubprocessTransport asyncio.subprocess:create_subprocess_exec
signal:raise_signal atexit:register sys:exit sys:settrace sys:modules sys:setrecursionlimit gc:get_objects
inspect:getsource shutil:rmtree shutil:copy shutil:copyfile shutil:move shutil:unpack_archive tempfile:mkdtemp
tempfile:mktemp pathlib:Path pathlib:PosixPath pathlib._local:PosixPath glob:glob fileinput:input linecache:getlines
tarfile:open zipfile:ZipFile gzip:open bz2:open lzma:open zlib:decompress socket:socket socket:create_connection
urllib.request:urlopen urllib.request:urlretrieve http.client:HTTPConnection ftplib:FTP smtplib:SMTP telnetlib:Telnet
webbrowser:open xmlrpc.client:ServerProxy ssl:SSLContext sqlite3:connect dbm:open logging.config:dictConfig
logging.config:listen venv:create ensurepip:bootstrap pip:main distutils.core:run_setup setuptools:setup
lib2to3.main:main idlelib.run:Executive test.support.script_helper:assert_python_ok numpy:load numpy:fromfile
numpy:memmap numpy:save numpy:savetxt numpy:loadtxt numpy:genfromtxt numpy:frompyfunc numpy:vectorize numpy:fromstring
numpy:frombuffer numpy:fromregex numpy:array numpy:empty numpy:zeros numpy:full numpy:recarray numpy:matrix
numpy:chararray numpy:ufunc numpy:nditer numpy:flatiter numpy:void numpy:object_ numpy.testing:rundocs
numpy.testing._private.utils:runstring numpy.testing._private.utils:rundocs numpy.f2py:compile
numpy.f2py.crackfortran:myeval numpy.f2py.crackfortran:_eval_scalar numpy.f2py.crackfortran:param_eval
numpy.distutils.exec_command:exec_command numpy.ctypeslib:load_library numpy.lib._npyio_impl:load numpy.lib.npyio:load
numpy.lib.npyio:NpzFile numpy.lib.format:read_array numpy.lib.utils:safe_eval numpy.core.records:fromfile
numpy.core._internal:_ctypes numpy.core.multiarray:fromfile numpy.core.multiarray:fromiter numpy.core.multiarray:empty
numpy.core.multiarray:set_string_function numpy._core.multiarray:fromfile
numpy._core.multiarray:_get_ndarray_c_version numpy._core.numeric:fromfunction numpy.core.umath:_ufunc_reconstruct
numpy.core:_ufunc_reconstruct numpy.ma.core:_mareconstruct numpy.random._pickle:__randomstate_ctor
numpy.random._pickle:__bit_generator_ctor numpy.matrixlib.defmatrix:matrix numpy.memmap:__new__
numpy.core._multiarray_umath:_reconstruct numpy._core._multiarray_umath:scalar joblib:load joblib.numpy_pickle:load
joblib.numpy_pickle:NumpyArrayWrapper cloudpickle:loads cloudpickle.cloudpickle:_make_function
cloudpickle.cloudpickle:subimport dill:loads dill._dill:_create_function dill._dill:_import_module torch:load
torch.hub:load torch._utils:_rebuild_tensor_v2 torch.storage:_load_from_bytes torch._inductor.codecache:compile_file
torch.utils.bottleneck.__main__:run_cprofile torch.jit:load pandas:read_pickle pandas.io.pickle:read_pickle
pandas.core.computation.eval:eval pandas.eval:eval sklearn.externals.joblib:load keras.models:load_model
keras.saving:load_model tensorflow:io.read_file tensorflow.keras.models:load_model yaml:load yaml:unsafe_load
jinja2:Template mako.template:Template django.core.management:call_command flask:Flask sympy:sympify scipy.io:loadmat
PIL.ImageMath:eval PIL.ImageShow:show matplotlib.cbook:get_sample_data matplotlib.pyplot:savefig psutil:Process
click:launch studio.errors:need studio.pipe:ModelPipe studio.serve.codec.safepickle:loads studio.extras:need
_frozen_importlib:_load antigravity:x uuid:_get_command_stdout nturl2path:x pydoc:pager pydoc:pipepager
pydoc:tempfilepager imaplib:IMAP4_stream getpass:getpass readline:read_init_file turtle:Screen this:s
_osx_support:_read_output _aix_support:_read_cmd_output _pyrepl.pager:pipe_pager ctypes.util:_findLib_gcc
ctypes.util:find_library cgitb:lookup reprlib:Repr types:GenericAlias typing:get_type_hints typing:ForwardRef
weakref:finalize contextlib:ExitStack
""".split()  # noqa: SIM905

NEAR_MISSES = [
    ("numpy ", "ndarray"), (" numpy", "ndarray"), ("numpy\r", "ndarray"), ("numpy\u200b", "ndarray"), ("Numpy", "ndarray"),
    ("numpy", "ndarray "), ("numpy", "ndarray\x00"), ("numpy\x00", "dtype"), ("numpy", "dtype\u200d"), ("numpy", ""),
    ("", "ndarray"), ("", ""), ("numpy", "."), ("numpy", "ndarray.__new__"), ("numpy", "ndarray.tofile"),
    ("numpy", "ndarray.__reduce__"), ("numpy", "dtype.__setstate__"), ("numpy", "dtype.type.mro"), ("numpy", "core.os"),
    ("numpy.core", "multiarray._reconstruct"), ("numpy", "core.multiarray._reconstruct"), ("numpy..core.multiarray", "scalar"),
    ("numpy.core.multiarray.", "scalar"), ("numpy/core/multiarray", "scalar"), ("numpy.core.multiarray", "SCALAR"),
    ("numpy.core.multiarray", "_reconstruct.__globals__"), ("numpy.core.multiarray", "__loader__"),
    ("numpy._core.numeric", "_frombuffer.__globals__"), ("numpy._core.numeric", "frombuffer"), ("numpy.core.numeric", "dtype"),
    ("_codecs", "encode.__self__"), ("_codecs", "encode\n"), ("codecs", "encode"), ("_codecs", "Encode"),
    ("builtins", "bytes.fromhex"), ("builtins", "bytes.__subclasses__"), ("builtins", "set.__class__"),
    ("builtins", "bytearray.extend"), ("builtins", "complex.__base__"), ("builtins", "frozenset.__init_subclass__"),
    ("builtins", "Bytes"), ("__builtins__", "bytes"), ("__builtin__", "str"), ("__main__", "bytes"),
    ("\u1e9euiltins", "set"), ("builtins\n", "set"), ("builtin\u017f", "set"), ("__builtin__", "set.__mro__"),
]  # fmt: skip
