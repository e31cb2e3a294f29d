"""On a machine with a GPU: a forked kernel trains on it, and its zygote never opens it."""

import importlib.util
from pathlib import Path

import pytest
from zygote_forks import Forks, until

TRAIN = """
import torch
from torch import nn
torch.manual_seed(1)
model = nn.Linear(4, 1).cuda()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(64, 4, device="cuda")
y = x @ torch.tensor([[1.0], [2.0], [3.0], [4.0]], device="cuda")
losses = []
for _ in range(50):
    loss = nn.functional.mse_loss(model(x), y)
    optimizer.zero_grad(); loss.backward(); optimizer.step()
    losses.append(loss.item())
print(losses[-1] < losses[0] / 100, torch.cuda.is_initialized())
"""


@pytest.mark.gpu
@pytest.mark.usefixtures("runtime")
def test_forked_kernels_train_on_a_gpu_that_their_zygote_never_opens(tmp_path: Path) -> None:
    if importlib.util.find_spec("torch") is None or not Path("/dev/nvidiactl").exists():
        pytest.skip("no CUDA device is at hand")
    forks = Forks(tmp_path, preload=("torch", "torch.utils.data"), spares=1)
    until(lambda: forks.state()["spares"]["count"])

    kernels = [forks.kernel(), forks.kernel()]
    said = [kernel.says(TRAIN) for kernel in kernels]

    assert said == ["True True"] * 2
    facts = forks.state()
    opened = [str(path.readlink()) for path in Path(f"/proc/{facts['pid']}/fd").iterdir()]
    assert (facts["is_safe"], [name for name in opened if "uvm" in name]) == (True, [])
    assert [kernel.end() for kernel in kernels] == [0, 0]
