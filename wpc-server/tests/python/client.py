"""Calls a server through the client that openapi-python-client generated from its document."""

import sys

from generated import Client
from generated.api.functions import call_add, call_echo_bytes, call_first_bytes, call_order
from generated.models import (
    CallAddArguments,
    CallFirstBytesArguments,
    CallOrderArguments,
    CallOrderArgumentsPrices,
    Order,
    Problem,
)
from generated.types import File
from io import BytesIO

client = Client(base_url=sys.argv[1])

assert call_add.sync(client=client, body=CallAddArguments(a=40, b=2)) == 42

prices = CallOrderArgumentsPrices()
prices["tea"] = 300
orders = [Order(item="tea", count=2)]
answer = call_order.sync(client=client, body=CallOrderArguments(orders=orders, prices=prices))
assert answer.accepted.total == 600, answer

refused = call_first_bytes.sync(client=client, body=CallFirstBytesArguments(bytes_=[1], count=2))
assert isinstance(refused, Problem), refused
assert (refused.status, refused.code) == (422, "guest_error"), refused

echoed = call_echo_bytes.sync_detailed(client=client, body=File(payload=BytesIO(b"\x00\xff")))
assert echoed.content == b"[0,255]", echoed
