"""Which Jupyter kernels are installed on this machine."""

from nbprod.core.errors import KernelNotInstalledError

#: jupyter_client makes this one out of the running interpreter wherever no other has its name.
OWN = "python3"


def require_kernel(name: str, *, template: str, language: str) -> None:
    """Refuse a kernel that is not installed, before anything starts.

    Notebooks keep the name of the kernel that last saved them: of a conda environment on a
    laptop, of a virtual environment that is long gone.

    Raises:
        KernelNotInstalledError: naming those that are.
    """
    if name in ("", OWN):
        return  # known without loading jupyter_client, which takes 0.3 s
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    manager = KernelSpecManager()
    try:
        manager.get_kernel_spec(name)
    except NoSuchKernel as error:
        installed = {
            found: str(details["spec"].get("language", "")).lower()
            for found, details in manager.get_all_specs().items()
        }
        fitting = sorted(found for found, spoken in installed.items() if spoken == language)
        raise KernelNotInstalledError(
            template, name, sorted(installed), OWN if OWN in fitting else next(iter(fitting), "")
        ) from error
