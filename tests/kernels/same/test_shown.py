"""What a notebook shows: streams, displays, errors, figures, widgets, progress bars, magics."""

from ways import Same

STREAMS = [
    """
    import sys
    from IPython.display import display
    print("first"); sys.stdout.flush()
    print("second, to stderr", file=sys.stderr); sys.stderr.flush()
    display("third")
    print("fourth"); sys.stdout.flush()
    display({"fifth": 5})
    "sixth"
    """,
    """
    import os, time
    os.write(1, b"past sys.stdout\\n");
    time.sleep(0.3)  # a thread forwards it; what comes after the end of the cell is lost
    """,
    """
    os.write(2, b"past sys.stderr\\n");
    time.sleep(0.3)
    """,
    "!echo from a shell; echo to its stderr >&2; exit 3",
    "_exit_code",
    """
    %%bash
    echo "from bash: $0"
    """,
    """
    import subprocess
    subprocess.run("echo from a child; cat; sleep 0.3", shell=True, check=True)
    subprocess.run(["sh", "-c", "echo $((6 * 7))"], capture_output=True, text=True).stdout
    """,
    "print('in pieces', end=''); print(' joined', end='', flush=True)",
    """
    import sys
    sys.stdout.isatty(), sys.stdout.encoding, sys.stdin.read(), sys.__stdin__.closed
    """,
]


def test_streams_displays_and_shell_commands_come_in_the_same_order(same: Same) -> None:
    executed = same(STREAMS)

    first = [out.get("text") or out.get("data", {}).get("text/plain") for out in executed.cells[0]]
    # Of two streams between the same two displays, `merged` puts stderr first.
    assert first == [
        *("second, to stderr\n", "first\n", "'third'", "fourth\n", "{'fifth': 5}", "'sixth'")
    ]
    assert executed.text(1) == "past sys.stdout\n"
    assert executed.text(2, "stderr") == "past sys.stderr\n"
    assert executed.text(3) == "from a shell\r\nto its stderr\r\n"
    assert executed.cells[4][0]["data"]["text/plain"] == "3"
    assert executed.text(6) == "from a child\n"
    assert executed.text(7) == "in pieces joined"


ERRORS = [
    """
    def outer(number):
        def inner():
            return number / 0
        return inner()
    outer(1)
    """,
    """
    try:
        {}["missing"]
    except KeyError as error:
        raise RuntimeError("because of that") from error
    """,
    "this is no Python",
    "input('your name: ')",
    "import getpass; getpass.getpass()",
    "breakpoint()",
    "import sys; sys.exit(4)",
    "raise KeyboardInterrupt",
    """
    import warnings
    warnings.warn("take care")
    warnings.warn("old", DeprecationWarning)
    warnings.warn("not for users", PendingDeprecationWarning)
    """,
    "%xmode Minimal",
    "1 / 0",
    "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])",
]


def test_errors_and_warnings_read_the_same_and_input_is_refused(same: Same) -> None:
    executed = same(ERRORS)

    names = [executed.error(cell)[0] for cell in (0, 1, 2, 3, 4, 6, 7)]
    assert names == [
        *("ZeroDivisionError", "RuntimeError", "SyntaxError", "StdinNotImplementedError"),
        *("StdinNotImplementedError", "SystemExit", "KeyboardInterrupt"),
    ]
    assert "UserWarning: take care" in executed.text(8, "stderr")
    assert "DeprecationWarning: old" in executed.text(8, "stderr")


RICH = [
    """
    import matplotlib.pyplot as plt
    import matplotlib as mpl
    print(mpl.get_backend(), plt.isinteractive(), mpl.rcParams["figure.dpi"])
    plt.plot([1, 4, 9])
    plt.title("squares");
    """,
    """
    figure, axes = plt.subplots(figsize=(2, 1))
    axes.bar(["a", "b"], [1, 2])
    figure
    """,
    "%config InlineBackend.figure_format = 'svg'\nplt.rcParams['svg.hashsalt'] = 'same'",
    """
    from matplotlib_inline.backend_inline import set_matplotlib_formats
    plt.figure(figsize=(1, 1)); plt.plot([3, 1])
    plt.savefig("x.svg", metadata={"Date": None}); plt.close()
    print(len(plt.get_fignums()))
    """,
    """
    import pandas as pd
    pd.DataFrame({"word": ["a", "b"], "count": [1, 2.5]})
    """,
    """
    from IPython.display import HTML, Markdown, clear_output, display
    handle = display("before", display_id="named")
    handle.update("after")
    """,
    """
    print("gone"); clear_output(); print("stays")
    display(HTML("<b>bold</b>"), Markdown("*emphasis*"))
    """,
    """
    import rich
    rich.print("[bold]rich[/bold]", {"knows": "notebooks"})
    """,
    "import numpy as np\nnp.arange(6).reshape(2, 3) / 7",
]


def test_figures_frames_and_rich_displays_are_the_same(same: Same) -> None:
    executed = same(RICH)

    assert executed.text(0).split()[0] in ("inline", "module://matplotlib_inline.backend_inline")
    assert "image/png" in executed.cells[0][1]["data"]
    assert "image/png" in executed.cells[1][-1]["data"]
    assert "<table" in executed.cells[4][0]["data"]["text/html"]
    assert executed.cells[5][0]["data"]["text/plain"] == "'after'"
    assert executed.text(6) == "stays\n"
    assert "text/html" in executed.cells[7][0]["data"]


WIDGETS = [
    """
    import ipywidgets as widgets
    slider = widgets.IntSlider(value=3, description="how many")
    text = widgets.Text("typed")
    widgets.link((slider, "value"), (widgets.IntText(), "value"))
    slider.value = 7
    widgets.VBox([slider, text])
    """,
    """
    out = widgets.Output()
    with out:
        print("inside")
    display(out)
    """,
    """
    from tqdm.auto import tqdm
    print([it.__name__ for it in tqdm.__mro__[:3]])
    for _ in tqdm(range(3), desc="counting"):
        pass
    """,
    """
    from tqdm import tqdm as plain
    for _ in plain(range(2), desc="plain", mininterval=1000):
        pass
    """,
]


def test_widgets_and_progress_bars_know_that_they_are_in_a_notebook(same: Same) -> None:
    executed = same(WIDGETS)

    states = executed.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    sliders = [it["state"] for it in states.values() if it["model_name"] == "IntSliderModel"]
    assert [slider["value"] for slider in sliders] == [7]
    assert executed.text(2) == "['tqdm', 'tqdm_notebook', 'tqdm_asyncio']\n"
    bars = [it["state"] for it in states.values() if it["model_name"] == "FloatProgressModel"]
    assert [bar["value"] for bar in bars] == [3]


MAGICS = [
    "%%time\nsum(range(10))",
    "%time 1 + 1",
    "%timeit -n1 -r1 -q pass",
    "%env NBPROD_TEST_COLOUR=green",
    "!echo $NBPROD_TEST_COLOUR",
    "%%writefile helper.py\nprint('helper runs as', __name__)\nanswer = 42",
    "%run helper.py",
    "answer",
    "import helper",
    "%cd -q /",
    "%pwd",
    "%%capture kept\nprint('captured')",
    "kept.stdout",
    "%load_ext autoreload\n%autoreload 2",
    "lines = !printf 'a\\nb'\nlines",
    "%who",
    "%history -n",
    "%lsmagic",
    "len(In), sorted(Out), _oh is Out, _",
    "%alias",
    "%config",
    "from IPython import get_ipython\nget_ipython().display_formatter.active_types",
    """
    import ipykernel, sys
    shell = get_ipython()
    files = {shell.config.IPKernelApp.connection_file, shell.parent.parent.connection_file}
    print(files == {sys.argv[2], ipykernel.get_connection_file()})
    print(type(shell), shell.config.HistoryManager, shell.history_manager.hist_file, shell.colors)
    print(sorted(shell.events.callbacks.items()))
    print(shell.input_transformers_post, shell.ast_node_interactivity, shell.autoawait)
    print(shell.kernel.execution_count, shell.has_trait("loop_runner"))
    print(type(shell.parent), shell.parent is shell.kernel, shell.get_parent()["msg_type"])
    """,
]


def test_magics_history_and_the_shell_itself_are_the_same(same: Same) -> None:
    executed = same(MAGICS)

    assert "Wall time: TIME" in executed.text(0)
    assert executed.text(4) == "green\r\n"
    assert executed.text(6) == "helper runs as __main__\n"
    assert executed.text(8) == "helper runs as helper\n"
    assert executed.cells[10][0]["data"]["text/plain"] == "'/'"
    assert executed.cells[12][0]["data"]["text/plain"] == r"'captured\n'"
    assert executed.counts == list(range(1, len(MAGICS) + 1))
