"""Channels to the nodes of a SIMP site: over TLS, with a bearer token."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True)
class Site:
    """What is needed to call a site."""

    nodes: list[str]
    """The nodes' listeners for programs, HOST:PORT."""
    authority: bytes
    """The certificate of the site's authority, in PEM."""
    token: str
    """What `simpctl token make` printed."""

    def channel(self, node: str) -> grpc.Channel:
        """Returns a channel to a node. A node that vanishes is noticed in 15 s."""
        credentials = grpc.composite_channel_credentials(
            grpc.ssl_channel_credentials(root_certificates=self.authority),
            grpc.access_token_call_credentials(self.token),
        )
        keepalive = [("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000)]
        return grpc.secure_channel(node, credentials, options=keepalive)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that site_of reads."""
    parser.add_argument("--nodes", required=True, help="HOST:PORT of the nodes, with commas between")
    parser.add_argument("--ca", required=True, type=Path, help="PEM file of the site's authority, ca.crt")
    parser.add_argument("--token-file", required=True, type=Path, help="file with the bearer token")


def site_of(flags: argparse.Namespace) -> Site:
    """Reads the files that the flags name."""
    nodes: str = flags.nodes
    ca: Path = flags.ca
    token_file: Path = flags.token_file
    return Site(nodes.split(","), ca.read_bytes(), token_file.read_text().strip())
