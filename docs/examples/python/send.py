#!/usr/bin/env python3
"""Send sends a message to users of a SIMP site, and repeats it after a doubt.

If the connection is lost, or the time is over, nobody knows whether the message
was accepted. It is sent again then, at the next node, with the same id and the
same octets: whoever has accepted it is not shown it twice. The token needs the
role message:send, with the sender's address.

    python3 send.py --nodes n1.example.com:7469 --ca ca.crt --token-file token \\
        --sender pager@example.com --to bob@example.com "wake up"
"""

import argparse
import itertools
import sys
import time
import uuid

import grpc
from google.protobuf.duration_pb2 import Duration

import nodes
from simp.v1 import message_pb2, message_pb2_grpc

DELIVERED, IN_DOUBT = 200, 201

ANSWER = 10
"""Seconds within which the recipients' clients have to accept the message."""

DEADLINE = ANSWER + 5
"""Seconds after which a call is given up: the node answers within ANSWER and one."""

REMEMBERED = 240
"""Seconds within which a message is repeated: a site knows its id for five minutes."""

REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
"""What repeating does not help against. After all else the message is in doubt."""


def send(site: nodes.Site, request: message_pb2.SendRequest) -> list[message_pb2.Outcome]:
    """Sends until no recipient is in doubt, or the time for that is over.

    Returns the outcomes, one for each recipient; none if no node has answered.
    """
    outcomes: list[message_pb2.Outcome] = []
    end = time.monotonic() + REMEMBERED
    for attempt, node in enumerate(itertools.cycle(site.nodes)):
        try:
            with site.channel(node) as channel:
                stub = message_pb2_grpc.MessageServiceStub(channel)
                response: message_pb2.SendResponse = stub.Send(request, timeout=DEADLINE)
            outcomes = list(response.outcome)
            if all(outcome.status != IN_DOUBT for outcome in outcomes):
                return outcomes
            print(f"{node}: some recipients are in doubt; sending it again", file=sys.stderr)
        except grpc.RpcError as error:
            if error.code() in REFUSALS:
                raise
            print(f"{node}: {error.code().name}: {error.details()}; sending it again", file=sys.stderr)
        pause = min(0.5 * 2**attempt, 10)
        if time.monotonic() + pause + DEADLINE > end:
            return outcomes
        time.sleep(pause)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description="Send a message to users of a SIMP site.")
    nodes.add_flags(parser)
    parser.add_argument("--sender", required=True, help="the address to send as")
    parser.add_argument("--to", required=True, action="append", help="a recipient; may be repeated")
    parser.add_argument("--id", default=str(uuid.uuid4()), help="of a message that was in doubt before")
    parser.add_argument("text")
    flags = parser.parse_args()
    text: str = flags.text
    request = message_pb2.SendRequest(
        to=flags.to,
        id=flags.id,  # the same in each attempt
        entity=b"\r\n" + text.encode(),  # no header: plain text
        timeout=Duration(seconds=ANSWER),
        **{"from": flags.sender},  # a keyword of Python
    )
    try:
        outcomes = send(nodes.site_of(flags), request)
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)
        return 1
    if not outcomes:
        print(f"no node has answered; for five minutes from the first attempt on, try again with --id {request.id}", file=sys.stderr)
        return 1
    for outcome in outcomes:
        print(f"{outcome.to}: {outcome.status} {outcome.text}")
    return 0 if all(outcome.status == DELIVERED for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
