"""Which processes share a zygote."""

import os
import sys

from nbprod.kernels.key import zygote_key


def key(role: str, *preload: str, **environment: str) -> str:
    return zygote_key(
        role, python=sys.executable, preload=preload or None, environment=os.environ | environment
    )


def test_commands_share_a_zygote_whatever_kernels_are_to_import() -> None:
    assert key("command", "torch") == key("command")
    assert key("kernel", "torch") != key("kernel")


def test_what_libraries_read_at_import_is_not_shared_and_what_they_read_later_is() -> None:
    assert key("kernel", OMP_NUM_THREADS="7") != key("kernel")
    assert key("kernel", CUDA_VISIBLE_DEVICES="7", TZ="Asia/Tokyo", MY_OWN="1") == key("kernel")
