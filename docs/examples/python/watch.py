#!/usr/bin/env python3
"""Watch prints who is reachable on a SIMP site, and each change of it.

It goes on at the next node when one fails, after the change that it has seen
last: nothing is missed, and nothing comes twice. The token needs the role
presence:read.

    python3 watch.py --nodes n1.example.com:7469,n2.example.com:7469 --ca ca.crt --token-file token
"""

import argparse
import itertools
import sys
import threading
import time
from typing import Optional

import grpc

import nodes
from simp.v1 import presence_pb2, presence_pb2_grpc

SILENCE = 15.0
"""Seconds without a response after which a node is given up: it sends progress every 10 s."""

RETRY = 0.5
"""Seconds between two attempts."""


def follow(site: nodes.Site, domain: str) -> None:
    """Watches at one node until it fails, and goes on at the next."""
    position: Optional[presence_pb2.Position] = None
    for node in itertools.cycle(site.nodes):
        try:
            position = watch(site, node, domain, position)
        except Failed as failed:
            position = failed.position
            print(f"{node}: {failed}; going on at the next node", file=sys.stderr)
        time.sleep(RETRY)


class Failed(Exception):
    """A Watch has ended; position is where to go on."""

    def __init__(self, text: str, position: Optional[presence_pb2.Position]) -> None:
        super().__init__(text)
        self.position = position


def watch(
    site: nodes.Site, node: str, domain: str, position: Optional[presence_pb2.Position]
) -> Optional[presence_pb2.Position]:
    """Prints what one node tells, after a position, until it fails."""
    with site.channel(node) as channel:
        stub = presence_pb2_grpc.PresenceServiceStub(channel)
        request = presence_pb2.WatchRequest(domain=domain, after=position)
        stream = stub.Watch(request)
        silence = threading.Timer(SILENCE, stream.cancel)
        silence.start()
        try:
            response: presence_pb2.WatchResponse
            for response in stream:
                silence.cancel()
                position = tell(response, position)
                silence = threading.Timer(SILENCE, stream.cancel)
                silence.start()
        except grpc.RpcError as error:
            raise Failed(f"{error.code().name}: {error.details()}", position) from error
        finally:
            silence.cancel()
    return position


def tell(
    response: presence_pb2.WatchResponse, position: Optional[presence_pb2.Position]
) -> Optional[presence_pb2.Position]:
    """Prints a response, and returns where to go on after it."""
    event = response.WhichOneof("event")
    if event == "presence":
        user = response.presence
        state = presence_pb2.State.Name(user.state).removeprefix("STATE_").lower()
        print(f"{user.ima} {state} {user.note}".rstrip(), flush=True)
    elif event == "synced":
        print("all others are deaf", flush=True)
    elif event == "reset":
        print(f"all over again: {response.reset.reason}", flush=True)
        return None
    return response.position if response.HasField("position") else position


def main() -> None:
    parser = argparse.ArgumentParser(description="Print who is reachable on a SIMP site, and each change.")
    nodes.add_flags(parser)
    parser.add_argument("--domain", default="", help="only users of this domain")
    flags = parser.parse_args()
    domain: str = flags.domain
    try:
        follow(nodes.site_of(flags), domain)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
