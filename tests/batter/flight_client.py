"""Flight SQL with nothing but pyarrow: a statement is sent, and its rows come as an Arrow table."""

import pyarrow.flight as flight

STATEMENT = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
PREPARE = b"type.googleapis.com/arrow.flight.protocol.sql.ActionCreatePreparedStatementRequest"


def field(number, content):
    """A field of bytes, as Protocol Buffers write it."""
    length, size = b"", len(content)
    while True:
        length += bytes([size & 0x7F | (0x80 if size > 0x7F else 0)])
        size >>= 7
        if not size:
            return bytes([number << 3 | 2]) + length + content


def message(kind, sql):
    return field(1, kind) + field(2, field(1, sql.encode()))


class Client:
    """A connection, which is a session."""

    def __init__(self, address, token=None, seconds=None):
        self.client = flight.connect(address, generic_options=[("grpc.use_local_subchannel_pool", 1)])
        headers = [(b"authorization", b"Bearer " + token.encode())] if token else []
        self.options = flight.FlightCallOptions(headers=headers, timeout=seconds)

    def ask(self, sql):
        descriptor = flight.FlightDescriptor.for_command(message(STATEMENT, sql))
        info = self.client.get_flight_info(descriptor, self.options)
        tables = [self.client.do_get(endpoint.ticket, self.options).read_all() for endpoint in info.endpoints]
        return tables[0] if len(tables) == 1 else tables

    def prepare(self, sql):
        action = flight.Action("CreatePreparedStatement", message(PREPARE, sql))
        return list(self.client.do_action(action, self.options))

    def close(self):
        self.client.close()
