"""Register and promote, as one of several processes: `register_worker.py URL ROOT NUMBER COUNT`.

Each model is registered once under a name that all processes share, and promoted until its
compare-and-swap succeeds. Every third model is one that all processes register.
"""

import json
import sys
from pathlib import Path

from model_files import model_folder, open_registry

from nbprod.core.errors import AlreadyPromotedError, PromotionConflictError


def main(url: str, root: Path, number: int, count: int) -> None:
    sys.stdin.readline()  # all of them begin at once
    registry, store = open_registry(url, root)
    versions, promotions, conflicts = [], [], 0
    with store:
        for index in range(count):
            seed = index if index % 3 == 2 else 1000 * (number + 1) + index
            folder = model_folder(root / f"{number}-{index}", seed)
            version = registry.register("router", folder, actor=f"worker {number}").version
            versions.append([seed, version])
            while True:
                champion = registry.find("router@champion")
                try:
                    promotion = registry.promote(
                        "router",
                        version,
                        expected=champion.version if champion else None,
                        verdicts=(),
                        actor=f"worker {number}",
                    )
                except PromotionConflictError:
                    conflicts += 1
                except AlreadyPromotedError:
                    break
                else:
                    promotions.append(promotion.id)
                    break
            registry.path(f"router@{version}")
    sys.stdout.write(json.dumps([versions, promotions, conflicts]))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
