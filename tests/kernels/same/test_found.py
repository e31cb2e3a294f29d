"""What a cell finds around it: names, paths, variables, limits, handlers, threads, streams."""

from ways import Same

PROCESS = [
    # before anything else is imported
    """
    __import__("builtins").print(__import__("json").dumps(sorted(globals())))
    """,
    """
    import json, sys
    main = sys.modules["__main__"]
    print(json.dumps({
        "main": [main.__dict__ is globals(), repr(main), __name__, __doc__],
        "made by": [repr(__spec__), repr(__loader__), repr(__package__)],
        "file": globals().get("__file__"),
        "builtins": sorted(vars(__builtins__)),
        # without the connection file
        "argv": [sys.argv[:2] + sys.argv[3:], sys.orig_argv[:4] + sys.orig_argv[5:]],
        "path": sys.path,
        "finders": [getattr(it, "__name__", type(it).__name__) for it in sys.meta_path],
        "libraries": [it for it in ("numpy", "pandas", "torch") if it in sys.modules],
        "path_hooks": [str(it).split(" at ")[0] for it in sys.path_hooks],
        "flags": [str(sys.flags), sys._xoptions, sys.warnoptions, sys.dont_write_bytecode],
        "prefix": [sys.executable, sys.prefix, sys.base_prefix, sys.exec_prefix],
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval(), sys.get_int_max_str_digits()],
        "trace": [repr(sys.gettrace()), repr(sys.getprofile()), repr(sys.exc_info())],
        "hooks": [sys.excepthook.__qualname__, type(sys.displayhook).__name__,
            sys.breakpointhook is sys.__breakpointhook__,
            sys.unraisablehook is sys.__unraisablehook__],
        "streams": [
            [type(it).__name__, it.encoding, it.errors, it.name, it.mode]
            for it in (sys.__stdin__, sys.__stdout__, sys.__stderr__, sys.stdin)
        ],
        "numbers": [sys.__stdin__.fileno(), sys.__stdout__.fileno(), sys.__stderr__.fileno()],
        "buffered": [it.line_buffering for it in (sys.__stdout__, sys.__stderr__)],
        "names": [hasattr(sys, "ps1"), hasattr(sys, "last_value"), sys.pycache_prefix],
        "text": [sys.getfilesystemencoding(), sys.getdefaultencoding()],
    }))
    """,
    """
    import os
    print(json.dumps({name: os.environ[name] for name in os.environ if name != "JPY_PARENT_PID"}))
    """,
    """
    import ctypes
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    name = "NBPROD_TEST_VARIABLE"
    print(libc.getenv(name.encode()), os.getenv(name), os.environb[name.encode()])
    !echo $NBPROD_TEST_VARIABLE
    os.environ[name] = "changed"
    print(libc.getenv(name.encode()))
    !echo $NBPROD_TEST_VARIABLE
    del os.environ[name]
    print(libc.getenv(name.encode()))
    """,
    """
    import resource, signal
    mask = os.umask(0); os.umask(mask)
    def handler(number):
        found = signal.getsignal(number)
        return getattr(found, "__qualname__", str(found))
    status = ("SigBlk", "SigIgn", "SigCgt", "CapEff", "Seccomp:", "NoNewPrivs")
    print(json.dumps({
        "folder": [os.getcwd(), mask, os.readlink("/proc/self/root")],
        "scheduling": [os.nice(0), sorted(os.sched_getaffinity(0)), os.sched_getscheduler(0)],
        "limits": {
            name: resource.getrlimit(getattr(resource, name))
            for name in dir(resource) if name.startswith("RLIMIT_")
        },
        "leads": os.getsid(0) == os.getpgrp() == os.getpid(),
        "ids": [os.getuid(), os.geteuid(), os.getgid(), os.getgroups()],
        "comm": [open(f"/proc/self/{name}").read() for name in ("comm", "oom_score_adj", "cgroup")],
        "prctl": [libc.prctl(3), libc.prctl(30)],  # dumpable, timer slack
        "handlers": {str(int(number)): handler(number) for number in signal.valid_signals()},
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": [signal.set_wakeup_fd(-1), signal.getitimer(signal.ITIMER_REAL)],
        "terminals": [os.isatty(number) for number in range(3)],
        "status": [line for line in open("/proc/self/status") if line.startswith(status)],
    }))
    """,
    """
    import threading
    found = threading.enumerate()
    print(json.dumps({
        "threads": sorted((thread.name, thread.daemon) for thread in found),
        "next": threading.Thread().name,
        "main": threading.current_thread() is threading.main_thread(),
        "native": threading.main_thread().native_id == os.getpid(),
        "hook": threading.excepthook is threading.__excepthook__,
    }))
    """,
    """
    numbers = [int(number) for number in os.listdir("/proc/self/fd")]
    opened = {
        number: os.readlink(f"/proc/self/fd/{number}")
        for number in numbers if os.path.exists(f"/proc/self/fd/{number}")
    }
    print(json.dumps({
        "files": sorted(name for name in opened.values() if name.startswith("/tmp")),
        "inheritable": [
            name for number, name in opened.items() if number > 2 and os.get_inheritable(number)
        ],
    }))
    """,
    """
    import asyncio, decimal, gc, locale, logging, multiprocessing, tempfile, time, warnings
    print(json.dumps({
        "warnings": [str(found) for found in warnings.filters],
        "loop": [type(asyncio.get_running_loop()).__name__, asyncio.get_running_loop().get_debug(),
            type(asyncio.get_event_loop_policy()).__name__],
        "decimal": str(decimal.getcontext()),
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_debug(), len(gc.callbacks)],
        "locale": [[locale.setlocale(number) for number in range(7)], locale.getencoding()],
        "time": [time.tzname, time.timezone, time.process_time() < 60],
        "temporary": tempfile.gettempdir(),
        "process": [multiprocessing.current_process().name,
            multiprocessing.get_start_method(allow_none=True), multiprocessing.parent_process()],
        "log": [logging.root.level, list(map(repr, logging.root.handlers)), logging.root.disabled],
    }))
    """,
]


def test_a_process_looks_the_same_from_inside(same: Same) -> None:
    executed = same(PROCESS, {"NBPROD_TEST_VARIABLE": "as asked"})

    assert "get_ipython" in executed.facts(0)
    assert executed.facts(1)["main"][0]
    assert executed.facts(2)["NBPROD_TEST_VARIABLE"] == "as asked"
    assert executed.text(3).split() == [
        *("b'as", "asked'", "as", "asked", "b'as", "asked'", "as", "asked"),
        *("b'changed'", "changed", "None"),
    ]
    assert executed.facts(4)["leads"]
    assert executed.facts(5)["main"]
    assert executed.facts(6)["inheritable"] == []
    assert executed.facts(7)["time"][2]
