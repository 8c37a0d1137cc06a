"""Networks of other projects, torchreid and fast-reid: built by name, and read from the files that they publish."""

from reid.networks.peers.kinds import PEERS

__all__ = ["PEERS"]
