"""Nothing that one notebook does can be seen by the next, which may come from the same zygote."""

from contextlib import ExitStack

from ways import Kernels, Way, differences, reference, run, started

from nbprod.kernels import client

#: Changes whatever a process keeps: in Python, in libraries, in C.
SOIL = [
    """
    import builtins, decimal, gc, json, locale, logging, os, random, resource, signal, sys, time
    import warnings
    secret = "of the first notebook"
    os.environ["NBPROD_TEST_LEAK"] = secret
    os.environ["TZ"] = "Asia/Tokyo"; time.tzset()
    os.chdir("/"); os.umask(0o007); os.nice(3); os.sched_setaffinity(0, {0})
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path.insert(0, "/leak"); sys.argv.append("leak"); sys.setrecursionlimit(2222)
    sys.stdin = None; sys.dont_write_bytecode = not sys.dont_write_bytecode
    builtins.leak = secret; json.dumps.__defaults__; json.leak = secret
    signal.signal(signal.SIGUSR1, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    gc.disable(); gc.set_threshold(1, 1, 1); decimal.getcontext().prec = 3
    locale.setlocale(locale.LC_ALL, "C")
    logging.basicConfig(level="DEBUG"); logging.getLogger("leak").addHandler(logging.NullHandler())
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error", UserWarning)
    random.seed(1)
    """,
    """
    import numpy as np, pandas as pd
    np.seterr(all="raise"); np.set_printoptions(precision=1); np.random.seed(1)
    pd.set_option("display.max_rows", 3); pd.DataFrame.leak = secret
    np.float64.__doc__, np.core if hasattr(np, "core") else None
    np.leak = secret
    import matplotlib.pyplot as plt
    plt.rcParams["figure.dpi"] = 33; plt.switch_backend("agg")
    """,
    """
    import torch, transformers
    torch.manual_seed(1); torch.set_default_dtype(torch.float64); torch.set_num_threads(1)
    torch.set_grad_enabled(False); torch.use_deterministic_algorithms(True)
    torch.nn.Module.leak = secret
    transformers.logging.set_verbosity_debug(); transformers.leak = secret
    from transformers import BertConfig, BertModel
    weights = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                                   intermediate_size=8, vocab_size=9))
    weights(torch.arange(4)[None])
    torch.rand(300, 300) @ torch.rand(300, 300)
    """,
    """
    import ctypes, multiprocessing, tempfile, threading
    libc = ctypes.CDLL(None)
    libc.setenv(b"NBPROD_TEST_LEAK_OF_C", b"1", 1); libc.srand(1)
    libc.prctl(15, b"leak", 0, 0, 0)
    tempfile.tempdir = "/leak"; multiprocessing.set_start_method("spawn")
    threading.Thread(target=time.sleep, args=(5,), daemon=True, name="leak").start()
    threading.stack_size(2**20)
    kept_open = open(os.path.join(os.environ["HOME"], "kept-open"), "w")
    get_ipython().run_line_magic("load_ext", "autoreload")
    get_ipython().display_formatter.formatters["text/plain"].for_type(int, lambda *_: "leak")
    get_ipython().events.register("post_run_cell", lambda *_: print("leak"))
    """,
]
#: Says what it finds of all that, without leaving anything.
LOOK = [
    """
    import builtins, decimal, gc, json, locale, logging, os, random, resource, signal, sys, time
    import warnings
    mask = os.umask(0); os.umask(mask)
    print(json.dumps({
        "names": sorted(globals()), "tz": [time.tzname, os.environ.get("TZ")],
        "variables": sorted(name for name in os.environ if "LEAK" in name),
        "process": [os.getcwd(), mask, os.nice(0), sorted(os.sched_getaffinity(0))],
        "limits": [resource.getrlimit(resource.RLIMIT_CORE), sys.getrecursionlimit()],
        "sys": [sys.path, sys.argv[3:], repr(type(sys.stdin)), sys.dont_write_bytecode],
        "leaks": [hasattr(builtins, "leak"), hasattr(json, "leak")],
        "signals": [str(signal.getsignal(it)) for it in (signal.SIGUSR1, signal.SIGTERM)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "gc": [gc.isenabled(), gc.get_threshold()], "decimal": decimal.getcontext().prec,
        "locale": locale.setlocale(locale.LC_ALL),
        "log": [logging.root.level, str(logging.root.handlers), logging.root.manager.disable,
            "leak" in logging.root.manager.loggerDict],
        "warnings": [str(it) for it in warnings.filters if it[0] == "error"],
        "random": random.random() != 0.13436424411240122,
    }))
    """,
    """
    import numpy as np, pandas as pd
    import matplotlib.pyplot as plt
    print(json.dumps({
        "numpy": [np.geterr(), np.get_printoptions()["precision"], hasattr(np, "leak")],
        "random": np.random.rand() != 0.417022004702574,
        "pandas": [pd.get_option("display.max_rows"), hasattr(pd.DataFrame, "leak")],
        "matplotlib": [plt.rcParams["figure.dpi"], plt.get_backend(), plt.get_fignums()],
    }))
    """,
    """
    import torch, transformers
    print(json.dumps({
        "torch": [str(torch.get_default_dtype()), torch.get_num_threads(), torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(), hasattr(torch.nn.Module, "leak")],
        "random": torch.initial_seed() != 1,
        "transformers": [transformers.logging.get_verbosity(), hasattr(transformers, "leak")],
    }))
    """,
    """
    import ctypes, multiprocessing, tempfile, threading
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    found = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    print(json.dumps({
        "c": [libc.getenv(b"NBPROD_TEST_LEAK_OF_C"), open("/proc/self/comm").read()],
        "temporary": tempfile.gettempdir(), "start": multiprocessing.get_start_method(True),
        "threads": [it.name for it in threading.enumerate() if "leak" in it.name],
        "stack": threading.stack_size(),
        "extensions": "autoreload" in get_ipython().magics_manager.magics["line"],
        "open": any("kept-open" in name for name in map(os.path.realpath, found)),
        "history": list(get_ipython().history_manager.get_range()),
    }))
    """,
    "7",
]


def test_a_notebook_finds_nothing_of_the_one_before_it(kernels: Kernels, way: Way) -> None:
    expected = reference(kernels, LOOK, None)

    soiled = kernels.execute(SOIL, way)
    found = kernels.execute(LOOK, way)

    assert soiled.errors() == []
    for number in range(len(LOOK)):
        assert differences(expected, found, number) == {}, f"cell {number}"
    assert found == expected


def test_kernels_that_run_side_by_side_do_not_see_each_other(kernels: Kernels, way: Way) -> None:
    names = ("a", "b", "c")
    write = """
        import os, torch
        name = os.environ["NBPROD_TEST_NAME"]
        torch.nn.Module.name = os.environ["NBPROD_TEST_SEEN"] = name
    """
    with ExitStack() as stack:
        running = [
            stack.enter_context(started(kernels, way, {"NBPROD_TEST_NAME": name}))[1]
            for name in names
        ]
        for kernel in running:
            assert run(kernel, write) == ""

        read = "print(name, torch.nn.Module.name, os.environ['NBPROD_TEST_SEEN'])"
        seen = [run(kernel, read) for kernel in running]

    assert seen == [f"{name} {name} {name}\n" for name in names]


def test_the_zygote_that_forked_them_is_as_it_was(kernels: Kernels, way: Way) -> None:
    kernels.settle(way)
    before = {state["pid"]: state for state in client.states() if "pid" in state}

    kernels.execute(SOIL, way)

    for state in client.states():
        if state["pid"] in before:
            assert state["is_safe"], state["reason"]
            assert state["threads"] == before[state["pid"]]["threads"]
