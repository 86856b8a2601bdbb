"""Who trains, as a user asks for it, and the pool that comes of it. Each executor is imported where it is asked for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from scalemark.errors import InputError
from scalemark.process import Message
from scalemark.schema import ExecutorName
from scalemark.train.executors.pool import Pool
from scalemark.train.extras import needed

if TYPE_CHECKING:
    from scalemark.train.conduct import Workshop

EXECUTORS = ("local", "ray", "slurm")
# In the run's folder: what Slurm's jobs report, and submitit's own files.
SLURM_FOLDER = "slurm"


@dataclass(frozen=True)
class Placement:
    """Who trains. ray_address: of a cluster that runs; None for one that is started on this machine.

    slurm_options: what `--slurm-option` says, see `scalemark.train.executors.slurm`.
    """

    executor: ExecutorName = "local"
    ray_address: str | None = None
    slurm_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def options(self) -> dict[str, str]:
        """What was asked for beside the executor's name, for the record."""
        return dict(self.slurm_options) | ({"ray_address": self.ray_address} if self.ray_address else {})

    def check(self) -> None:
        """Find what would fail later: raises InputError for a missing extra or an option without its executor."""
        if self.ray_address and self.executor != "ray":
            raise InputError(f"--ray-address says nothing to the executor {self.executor}: add --executor ray")
        if self.slurm_options and self.executor != "slurm":
            raise InputError(f"--slurm-option says nothing to the executor {self.executor}: add --executor slurm")
        if self.executor == "ray":
            needed("ray", "ray")
        if self.executor == "slurm":
            from scalemark.train.executors import slurm

            slurm.find_submitit(self.slurm_options)
            slurm.parse_options(self.slurm_options)

    def slots(self, threads: int, n_cpus: int, device: Literal["cpu", "cuda"]) -> int:
        """How many models are trained at a time where nobody says; n_cpus: of this machine."""
        if self.executor == "ray":
            from scalemark.train.executors import ray

            return ray.capacity(ray.connect(self.ray_address, n_cpus), threads, device)
        if self.executor == "slurm":
            from scalemark.train.executors import slurm

            return slurm.DEFAULT_SLOTS
        return max(1, n_cpus // threads) if device == "cpu" else 1

    def open_pool(self, shop: "Workshop", hear: Callable[[Message], None]) -> Pool:
        """Seats for the workshop's jobs, with nothing to do yet."""
        if self.executor == "ray":
            from scalemark.train.executors import ray

            connected = ray.connect(self.ray_address, shop.slots * shop.threads)
            return ray.open_pool(connected, shop.slots, shop.threads, shop.device, shop.files, hear)
        if self.executor == "slurm":
            from scalemark.train.executors import slurm

            return slurm.open_pool(shop.log_path.parent / SLURM_FOLDER, shop.slots, self.slurm_options, hear)
        from scalemark.train.executors import local

        return local.open_pool(local.share_cpus(shop.slots, shop.threads, shop.affinity), shop.log_path, hear)


LOCAL = Placement()
