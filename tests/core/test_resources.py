"""What was asked for more nearly wins, and leaves the rest to what was asked for before."""

from datetime import timedelta

from nbprod.core.resources import Gpus, Resources

TEMPLATE = Resources(
    gpus=Gpus(required=1, preferred=1), cpus=2, memory_bytes=8, timeout=timedelta(hours=2)
)


def test_what_a_step_says_holds_and_the_rest_is_the_templates() -> None:
    step = Resources(memory_bytes=16, gpus=Gpus(preferred=2))

    assert step.over(TEMPLATE) == Resources(
        gpus=Gpus(preferred=2), cpus=2, memory_bytes=16, timeout=timedelta(hours=2)
    )


def test_nothing_said_changes_nothing() -> None:
    assert Resources().over(TEMPLATE) == TEMPLATE
    assert TEMPLATE.over(Resources()) == TEMPLATE
