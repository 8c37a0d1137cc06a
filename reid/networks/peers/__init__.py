"""Networks of other projects, torchreid and fast-reid: built by name, and read from the files that they publish."""

from reid.networks.peers.kinds import PEERS, Input
from reid.networks.peers.reading import Recognised, open_checkpoint, read_checkpoint

__all__ = ["PEERS", "Input", "Recognised", "open_checkpoint", "read_checkpoint"]
