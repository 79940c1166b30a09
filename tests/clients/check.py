"""Checks of `almagest serve` from outside, with the clients that people use.

    python check.py PATH/TO/almagest [-k PATTERN] [--docs DIR] [--dry-run]

Makes data, a certificate authority, a certificate and a users file in a temporary
directory, starts the server, and prints one line for each check. The last line counts
them. The exit status is 1 if a check failed. `--dry-run` makes the files and starts no server.
"""

import argparse
import contextlib
import datetime
import decimal
import fnmatch
import hashlib
import ipaddress
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import warnings

import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import argon2
import h5py
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.flight
import pyarrow.parquet
from adbc_driver_flightsql import DatabaseOptions, StatementOptions
from adbc_driver_manager import AdbcStatusCode as Status
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Error = adbc_driver_manager.Error
MARKER = "marker-that-nobody-may-read"
ROWS = 1000
READER = ("ann", "reader's pass word")
WRITER = ("bob", "writer-password")
READER_TOKEN = "reader-token-0123456789abcdef"
WRITER_TOKEN = "writer-token-0123456789abcdef"
MIB = 1 << 20
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


# ---- What the server is given


def write_data(root):
    """The data directory, the writable one, and a file that no query may reach."""
    data, writable, outside = root / "data", root / "writable", root / "outside"
    for folder in (data / "candidates", writable, outside):
        folder.mkdir(parents=True)
    number = np.arange(ROWS)
    table = pa.table(
        {
            "tic_id": pa.array(number + 1, pa.int64()),
            "transit_duration_hours": pa.array(1.0 + number % 10, pa.float64()),
            "stellar_teff": pa.array(3000.0 + number * 5, pa.float64()),
            "period_days": pa.array(0.5 + number / 10, pa.float64()),
        }
    )
    half = ROWS // 2
    for part, rows in enumerate((table.slice(0, half), table.slice(half))):
        pyarrow.parquet.write_table(rows, data / "candidates" / f"part-{part}.parquet")
    image = np.arange(64 * 48, dtype=np.float32).reshape(64, 48)
    with h5py.File(data / "image.h5", "w") as file:
        file.create_dataset("image", data=image, chunks=(16, 16))
    (outside / "secret.csv").write_text(f"word\n{MARKER}\n")
    pyarrow.parquet.write_table(pa.table({"word": [MARKER]}), outside / "secret.parquet")
    with h5py.File(outside / "secret.h5", "w") as file:
        file.create_dataset("image", data=image)
    (data / "link.csv").symlink_to(outside / "secret.csv")
    (data / "link.parquet").symlink_to(outside / "secret.parquet")
    (data / "linked_folder").symlink_to(outside)
    return data, writable, outside, table, image


def write_certificates(root):
    """A certificate authority, and a certificate of it for localhost and 127.0.0.1."""
    now = datetime.datetime.now(datetime.timezone.utc)

    def certificate(name, key, issuer, issuer_key, authority, use=ExtendedKeyUsageOID.SERVER_AUTH):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if not authority:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            usage = x509.ExtendedKeyUsage([use])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def named(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = named("check authority")
    authority = certificate(authority_name, authority_key, authority_name, authority_key, True)
    key = ec.generate_private_key(ec.SECP256R1())
    server = certificate(named("localhost"), key, authority_name, authority_key, False)
    pem = serialization.Encoding.PEM
    (root / "ca.pem").write_bytes(authority.public_bytes(pem))
    (root / "cert.pem").write_bytes(server.public_bytes(pem))

    def write_key(path, key):
        kind, open_to_all = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        path.write_bytes(key.private_bytes(pem, kind, open_to_all))
        path.chmod(0o600)

    write_key(root / "key.pem", key)
    # another authority's, for clients: a server's certificate is none of theirs
    for name in ("client", "stranger"):
        signer_key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        signer_name = named(f"authority of {name}")
        signer = certificate(signer_name, signer_key, signer_name, signer_key, True)
        use = ExtendedKeyUsageOID.CLIENT_AUTH
        client = certificate(named(name), client_key, signer_name, signer_key, False, use)
        (root / f"{name}-ca.pem").write_bytes(signer.public_bytes(pem))
        (root / f"{name}.pem").write_bytes(client.public_bytes(pem))
        write_key(root / f"{name}-key.pem", client_key)


def write_users(root):
    """Two users: one only reads, one also writes."""
    hasher = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
    lines = []
    for (name, password), token, writes in (
        (READER, READER_TOKEN, False),
        (WRITER, WRITER_TOKEN, True),
    ):
        digest = hashlib.sha256(token.encode()).hexdigest()
        lines += [
            "[[user]]",
            f'name = "{name}"',
            f'password = "{hasher.hash(password)}"',
            f'tokens = ["sha256:{digest}"]',
            f"writable = {str(writes).lower()}",
            "",
        ]
    (root / "users.toml").write_text("\n".join(lines))
    (root / "users.toml").chmod(0o600)


class Server:
    """The files and the process, ended by its id whatever happens."""

    def __init__(self, root, binary):
        self.root = root
        self.data, self.writable, self.outside, self.table, self.image = write_data(root)
        write_certificates(root)
        write_users(root)
        self.authority = (root / "ca.pem").read_text()
        self.binary, self.process, self.uri = binary, None, None

    def start(self):
        port_file = self.root / "port"
        with open(self.root / "server.log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    self.binary, "serve", "--flight", "127.0.0.1:0",
                    "--data", self.data, "--writable", self.writable,
                    "--users", self.root / "users.toml",
                    "--tls-cert", self.root / "cert.pem", "--tls-key", self.root / "key.pem",
                    "--port-file", port_file,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise SystemExit(f"the server ended with {self.process.returncode}:\n{self.log()}")
            address = port_file.read_text().strip() if port_file.exists() else ""
            if address:
                self.uri = f"grpc+tls://{address}"
                self.watched = psutil.Process(self.process.pid)
                return
            time.sleep(0.05)
        raise SystemExit(f"the server wrote no port within 30 s:\n{self.log()}")

    def log(self):
        return (self.root / "server.log").read_text(errors="replace")[-4000:]

    def stop(self):
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def cpu(self):
        """Seconds of processor time that the server has used."""
        times = self.watched.cpu_times()
        return times.user + times.system

    def memory(self):
        return self.watched.memory_info().rss

    def load(self, seconds):
        """Processors in use, on average over so many seconds."""
        before, start = self.cpu(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu() - before) / (time.monotonic() - start)


SERVER: Server = None
DOCS: pathlib.Path = None


def connect(user=WRITER, **options):
    """A connection with a password. Keywords of the driver come as `options`."""
    login = {"username": user[0], "password": user[1]} if user else {}
    return connect_with({**login, **options})


def connect_with(options):
    options = {DatabaseOptions.TLS_ROOT_CERTS.value: SERVER.authority, **options}
    return flight_sql.connect(SERVER.uri, db_kwargs=options, autocommit=True)


def connect_token(token, cookies=True):
    return connect_with(
        {
            DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {token}",
            DatabaseOptions.WITH_COOKIE_MIDDLEWARE.value: str(cookies).lower(),
        }
    )


def ask(connection, sql, parameters=None):
    """The rows of a statement, as an Arrow table."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


def value(connection, sql, parameters=None):
    """The one value of a statement."""
    table = ask(connection, sql, parameters)
    assert table.shape == (1, 1), f"{sql}: {table.shape} instead of one value"
    return table.column(0)[0].as_py()


# What a client in a process of its own begins with: a connection `c`.
CLIENT = """
import os, time, adbc_driver_flightsql.dbapi as flight_sql
c = flight_sql.connect(os.environ["ALMAGEST_URI"], autocommit=True, db_kwargs={
    "username": os.environ["ALMAGEST_USER"], "password": os.environ["ALMAGEST_PASSWORD"],
    "adbc.flight.sql.client_option.tls_root_certs": open(os.environ["ALMAGEST_CA"]).read()})
"""


@contextlib.contextmanager
def killed_after(code, seconds):
    """Runs Python until its first line of output and so much longer, then the block, then kills it."""
    client = subprocess.Popen([sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE)
    try:
        assert client.stdout.readline(), "the client ended before it began"
        time.sleep(seconds)
        assert client.poll() is None, "the client ended by itself"
        yield
    finally:
        client.send_signal(signal.SIGKILL)
        client.wait()
        client.stdout.close()


# ---- Flight without a driver: what FlightInfo and tickets say


def varint(number):
    out = b""
    while True:
        low, number = number & 127, number >> 7
        out += bytes([low | (128 if number else 0)])
        if not number:
            return out


def packed(field, content):
    return varint(field << 3 | 2) + varint(len(content)) + content


def statement_query(sql):
    """The descriptor of `CommandStatementQuery`, in protocol buffers by hand."""
    kind = b"type.googleapis.com/arrow.flight.protocol.sql.CommandStatementQuery"
    return pa.flight.FlightDescriptor.for_command(
        packed(1, kind) + packed(2, packed(1, sql.encode()))
    )


def plain_flight(user=READER):
    client = pa.flight.FlightClient(SERVER.uri, tls_root_certs=SERVER.authority)
    headers = [client.authenticate_basic_token(*user)] if user else []
    return client, pa.flight.FlightCallOptions(timeout=30, headers=headers)


class Check(unittest.TestCase):
    user = READER

    def setUp(self):
        if SERVER.process.poll() is not None:
            self.fail(f"the server is gone: {SERVER.process.returncode}\n{SERVER.log()}")
        self.connection = connect(self.user)
        self.addCleanup(self.connection.close)
        self.cursor = self.connection.cursor()
        self.addCleanup(self.cursor.close)

    def opened(self, connection):
        self.addCleanup(connection.close)
        return connection

    def assertRefused(self, statement, *statuses, connection=None, within=5):
        """Ends soon with an error of one of these statuses, which tells no secret.

        The connection is good for another query afterwards.
        """
        connection = connection or self.connection
        start = time.monotonic()
        try:
            rows = ask(connection, statement) if isinstance(statement, str) else statement()
        except Error as error:
            text = str(error)
            if statuses:
                names = [status.name for status in statuses]
                self.assertIn(error.status_code, statuses, f"not one of {names}: {text}")
        else:
            self.fail(f"not refused: {statement}: {str(rows)[:200]}")
        self.assertLess(time.monotonic() - start, within, f"refused too late: {statement}")
        self.assertNotIn(MARKER, text)
        self.assertNotIn("root:", text)
        self.assertNotIn("panicked", text)
        self.assertEqual(value(connection, "SELECT 1"), 1)
        return text


# ---- The checks


class Login(Check):
    def test_password(self):
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_token(self):
        for cookies in (False, True):
            connection = self.opened(connect_token(READER_TOKEN, cookies))
            self.assertEqual(value(connection, "SELECT 1"), 1)

    def refuse_login(self, make):
        """A driver may open a connection without a login. Its first query must fail."""
        try:
            with make() as connection:
                ask(connection, "SELECT 1")
        except Error as error:
            self.assertEqual(error.status_code, Status.UNAUTHENTICATED, str(error))
            return str(error)
        self.fail("a query was answered without a login")

    def test_wrong_password(self):
        wrong = self.refuse_login(lambda: connect((READER[0], "wrong")))
        nobody = self.refuse_login(lambda: connect(("nobody", "wrong")))
        self.assertEqual(wrong, nobody.replace("nobody", READER[0]), "tells which users exist")

    def test_empty_password(self):
        self.refuse_login(lambda: connect((READER[0], "")))

    def test_wrong_token(self):
        self.refuse_login(lambda: connect_token("wrong"))
        self.refuse_login(lambda: connect_token(""))
        digest = hashlib.sha256(READER_TOKEN.encode()).hexdigest()
        self.refuse_login(lambda: connect_token(digest))
        self.refuse_login(lambda: connect_token("sha256:" + digest))

    def test_no_credentials(self):
        self.refuse_login(lambda: connect(None))

    def test_no_credentials_on_any_call(self):
        client, options = plain_flight(None)
        query = statement_query("SELECT 1")
        calls = {
            "GetFlightInfo": lambda: client.get_flight_info(query, options),
            "GetSchema": lambda: client.get_schema(query, options),
            "DoGet": lambda: client.do_get(pa.flight.Ticket(b"x"), options).read_all(),
            "DoAction": lambda: list(client.do_action(("CloseSession", b""), options)),
            "ListFlights": lambda: list(client.list_flights(b"", options)),
            "DoPut": lambda: self.put_nothing(client, query, options),
        }
        with client:
            for name, call in calls.items():
                with self.subTest(call=name):
                    with self.assertRaises((pa.ArrowException, OSError)) as caught:
                        call()
                    self.assertIn("unauthenticated", repr(caught.exception).lower())

    def put_nothing(self, client, descriptor, options):
        writer, _ = client.do_put(descriptor, pa.schema([("a", pa.int64())]), options)
        writer.done_writing()
        writer.close()

    def test_unknown_authority(self):
        options = {"username": READER[0], "password": READER[1]}
        with self.assertRaises(Error):
            flight_sql.connect(SERVER.uri, db_kwargs=options, autocommit=True).close()

    def test_without_tls(self):
        options = {"username": READER[0], "password": READER[1]}
        with self.assertRaises(Error):
            uri = SERVER.uri.replace("grpc+tls", "grpc")
            flight_sql.connect(uri, db_kwargs=options, autocommit=True).close()

    def test_close_leaves_others(self):
        """A driver ends its session as it closes. A token serves other connections."""
        for make in (lambda: connect(READER), lambda: connect_token(READER_TOKEN, False)):
            first, second = make(), self.opened(make())
            ask(first, "SELECT 1")
            first.close()
            self.assertEqual(value(second, "SELECT 2"), 2)


class Browse(Check):
    CANDIDATES = ["tic_id", "transit_duration_hours", "stellar_teff", "period_days"]

    def objects(self, **filters):
        catalogs = self.connection.adbc_get_objects(**filters).read_all().to_pylist()
        found = {}
        for catalog in catalogs:
            for schema in catalog["catalog_db_schemas"] or []:
                for table in schema["db_schema_tables"] or []:
                    place = (catalog["catalog_name"], schema["db_schema_name"])
                    found[(*place, table["table_name"])] = table
        return catalogs, found

    def test_objects(self):
        _, found = self.objects(depth="all")
        for name, columns, kinds in (
            ("candidates", self.CANDIDATES, [-5, 6, 6, 6]),
            ("image", ["y", "x", "value"], [-5, -5, 6]),
        ):
            table = found[("datafusion", "public", name)]
            self.assertEqual([c["column_name"] for c in table["table_columns"]], columns)
            self.assertEqual([c["xdbc_data_type"] for c in table["table_columns"]], kinds)
            self.assertEqual(
                [c["ordinal_position"] for c in table["table_columns"]],
                list(range(1, len(columns) + 1)),
            )
        self.assertFalse([key for key in found if "link" in key[2] or "secret" in key[2]])

    def test_objects_by_depth(self):
        catalogs, _ = self.objects(depth="catalogs")
        self.assertIn("datafusion", [c["catalog_name"] for c in catalogs])
        catalogs, _ = self.objects(depth="db_schemas", catalog_filter="datafusion")
        schemas = [s["db_schema_name"] for c in catalogs for s in c["catalog_db_schemas"]]
        self.assertIn("public", schemas)
        _, found = self.objects(depth="tables")
        self.assertIn(("datafusion", "public", "image"), found)

    def test_objects_by_name(self):
        for pattern in ("cand%", "candidate_", "candidates"):
            _, found = self.objects(depth="all", table_name_filter=pattern)
            self.assertEqual(sorted({key[2] for key in found}), ["candidates"], pattern)
        _, found = self.objects(depth="all", table_name_filter="no'such")
        self.assertEqual(found, {})
        _, found = self.objects(depth="all", db_schema_filter="public", table_name_filter="image")
        self.assertEqual(list(found), [("datafusion", "public", "image")])

    def test_table_schema(self):
        get = self.connection.adbc_get_table_schema
        schema = get("candidates", catalog_filter="datafusion", db_schema_filter="public")
        self.assertEqual(schema.names, self.CANDIDATES)
        self.assertEqual(schema.types, [pa.int64()] + [pa.float64()] * 3)
        schema = get("image")
        self.assertEqual(schema.names, ["y", "x", "value"])
        self.assertEqual(schema.types, [pa.int64(), pa.int64(), pa.float32()])

    def test_table_schema_is_that_of_a_query(self):
        for name in ("candidates", "image"):
            told = self.connection.adbc_get_table_schema(name)
            got = ask(self.connection, f"SELECT * FROM {name} LIMIT 1").schema
            self.assertEqual(told.remove_metadata(), got.remove_metadata())

    def test_table_schema_of_a_missing_table(self):
        with self.assertRaises(Error) as caught:
            self.connection.adbc_get_table_schema("no_such_table")
        self.assertEqual(caught.exception.status_code, Status.NOT_FOUND, str(caught.exception))

    def test_table_types(self):
        kinds = self.connection.adbc_get_table_types()
        self.assertTrue(kinds)
        _, found = self.objects(depth="tables")
        self.assertLessEqual({t["table_type"] for t in found.values()}, set(kinds))

    def test_info(self):
        info = self.connection.adbc_get_info()
        self.assertIn("almagest", info["vendor_name"].lower())
        self.assertRegex(info["vendor_version"], r"^\d+\.\d+")
        self.assertIn("driver_name", info)

    def test_information_schema(self):
        sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        names = ask(self.connection, sql).column(0).to_pylist()
        self.assertLessEqual({"candidates", "image"}, set(names))


# An expression, its Arrow type, and its value in Python.
UTC = datetime.timezone.utc
TYPES = [
    ("arrow_cast(-1, 'Int8')", pa.int8(), -1),
    ("arrow_cast(-2, 'Int16')", pa.int16(), -2),
    ("arrow_cast(-3, 'Int32')", pa.int32(), -3),
    ("-9223372036854775807", pa.int64(), -9223372036854775807),
    ("arrow_cast(255, 'UInt8')", pa.uint8(), 255),
    ("arrow_cast(65535, 'UInt16')", pa.uint16(), 65535),
    ("arrow_cast(4294967295, 'UInt32')", pa.uint32(), 4294967295),
    ("arrow_cast('18446744073709551615', 'UInt64')", pa.uint64(), 18446744073709551615),
    ("arrow_cast(1.5, 'Float32')", pa.float32(), 1.5),
    ("CAST(2.5 AS DOUBLE)", pa.float64(), 2.5),
    ("arrow_cast('é ''x''', 'Utf8')", pa.string(), "é 'x'"),
    ("arrow_cast('y', 'LargeUtf8')", pa.large_string(), "y"),
    # sent as a kind of text that every client knows
    ("arrow_cast('longer than twelve', 'Utf8View')", pa.string(), "longer than twelve"),
    ("X'00ff'", pa.binary(), b"\x00\xff"),
    ("arrow_cast(X'0102', 'LargeBinary')", pa.large_binary(), b"\x01\x02"),
    ("true", pa.bool_(), True),
    ("DATE '2024-02-29'", pa.date32(), datetime.date(2024, 2, 29)),
    ("TIME '12:34:56.789'", pa.time64("ns"), datetime.time(12, 34, 56, 789000)),
    (
        "arrow_cast('2024-02-29T12:34:56', 'Timestamp(Microsecond, None)')",
        pa.timestamp("us"),
        datetime.datetime(2024, 2, 29, 12, 34, 56),
    ),
    (
        "arrow_cast('2024-02-29T12:34:56Z', 'Timestamp(Microsecond, Some(\"UTC\"))')",
        pa.timestamp("us", "UTC"),
        datetime.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC),
    ),
    ("CAST('12.340' AS DECIMAL(10, 3))", pa.decimal128(10, 3), decimal.Decimal("12.340")),
    (
        "INTERVAL '1 month 2 days 3 seconds'",
        pa.month_day_nano_interval(),
        pa.MonthDayNano([1, 2, 3_000_000_000]),
    ),
    ("arrow_cast(5, 'Duration(Second)')", pa.duration("s"), datetime.timedelta(seconds=5)),
    ("[1, 2, NULL]", pa.list_(pa.int64()), [1, 2, None]),
    ("[[1], NULL, []]", pa.list_(pa.list_(pa.int64())), [[1], None, []]),
    (
        "named_struct('a', 1, 'b', 'x')",
        pa.struct([("a", pa.int64()), ("b", pa.string())]),
        {"a": 1, "b": "x"},
    ),
    ("MAP {'a': 1}", pa.map_(pa.string(), pa.int64()), [("a", 1)]),
    ("arrow_cast('x', 'Dictionary(Int32, Utf8)')", pa.dictionary(pa.int32(), pa.string()), "x"),
    ("NULL", pa.null(), None),
]


def kind_of(data_type):
    """A type without the names and nullability of what it holds, and decoded."""
    if pa.types.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if pa.types.is_list(data_type):
        return ("list", kind_of(data_type.value_type))
    if pa.types.is_map(data_type):
        return ("map", kind_of(data_type.key_type), kind_of(data_type.item_type))
    if pa.types.is_struct(data_type):
        return ("struct", *((field.name, kind_of(field.type)) for field in data_type))
    return str(data_type)


class Queries(Check):
    def test_arrow_table(self):
        table = ask(self.connection, "SELECT * FROM candidates ORDER BY tic_id")
        self.assertEqual(table.column_names, SERVER.table.column_names)
        self.assertEqual(table.to_pydict(), SERVER.table.to_pydict())

    def test_rows(self):
        rows = self.cursor.execute("SELECT tic_id, stellar_teff FROM candidates ORDER BY 1")
        self.assertEqual(rows.fetchone(), (1, 3000.0))
        self.assertEqual(rows.fetchmany(2), [(2, 3005.0), (3, 3010.0)])
        self.assertEqual(len(rows.fetchall()), ROWS - 3)
        self.assertEqual([d[0] for d in rows.description], ["tic_id", "stellar_teff"])

    def test_schema_of_info_is_that_of_data(self):
        client, options = plain_flight()
        with client:
            for sql in (
                "SELECT 1 AS a, NULL AS b",
                "SELECT count(*) AS n, avg(value) FROM image",
                "SELECT * FROM candidates WHERE tic_id < 0",
                "SELECT * FROM image LIMIT 3",
                "SELECT y, array_agg(value ORDER BY x) AS line FROM image GROUP BY y",
                "SELECT " + ", ".join(f"{t[0]} AS c{i}" for i, t in enumerate(TYPES)),
                "SHOW datafusion.execution.batch_size",
                "EXPLAIN SELECT 1",
            ):
                with self.subTest(sql=sql[:60]):
                    query = statement_query(sql)
                    info = client.get_flight_info(query, options)
                    got = [client.do_get(e.ticket, options).read_all() for e in info.endpoints]
                    self.assertTrue(got)
                    for table in got:
                        self.assertEqual(info.schema.remove_metadata(), table.schema.remove_metadata())
                    prepared = self.cursor.adbc_execute_schema(sql)
                    driven = ask(self.connection, sql).schema
                    self.assertEqual(info.schema.remove_metadata(), prepared.remove_metadata())
                    self.assertEqual(info.schema.remove_metadata(), driven.remove_metadata())

    def test_nullable(self):
        schema = ask(self.connection, "SELECT count(*) AS n, max(tic_id) AS m FROM candidates").schema
        self.assertFalse(schema.field("n").nullable)
        self.assertTrue(schema.field("m").nullable)

    def test_tickets_are_checked(self):
        client, options = plain_flight()
        with client:
            info = client.get_flight_info(statement_query("SELECT 1"), options)
            raw = info.endpoints[0].ticket.ticket
            for ticket in (b"", b"x", raw[:-1], raw[:-4] + b"\xff\xff\xff\xff"):
                try:
                    client.do_get(pa.flight.Ticket(ticket), options).read_all()
                except (pa.ArrowException, pa.flight.FlightError) as error:
                    self.assertNotIn("panicked", str(error))
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_garbage_descriptor(self):
        client, options = plain_flight()
        with client:
            for command in (b"", b"\xff" * 9, packed(1, b"no/such.type") + packed(2, b"")):
                descriptor = pa.flight.FlightDescriptor.for_command(command)
                with self.assertRaises((pa.ArrowException, pa.flight.FlightError)):
                    client.get_flight_info(descriptor, options)

    def test_empty(self):
        table = ask(self.connection, "SELECT * FROM candidates WHERE tic_id < 0")
        self.assertEqual(table.num_rows, 0)
        self.assertEqual(table.schema.types, SERVER.table.schema.types)

    def test_zero_columns(self):
        """Answered, or refused as a query; the connection goes on."""
        try:
            table = ask(self.connection, "SELECT FROM candidates")
        except Error as error:
            self.assertIn(error.status_code, (Status.INVALID_ARGUMENT, Status.NOT_IMPLEMENTED))
        else:
            self.assertEqual(table.num_columns, 0)
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_types(self):
        for sql, data_type, expected in TYPES:
            with self.subTest(sql=sql):
                for alone in (f"SELECT {sql} AS v", f"SELECT {sql} AS v WHERE false"):
                    table = ask(self.connection, alone)
                    self.assertEqual(kind_of(table.schema[0].type), kind_of(data_type))
                column = ask(self.connection, f"SELECT {sql} AS v UNION ALL SELECT NULL").column(0)
                values = column.to_pylist()
                self.assertEqual(len(values), 2)
                self.assertIn(None, values)
                if expected is not None:
                    other = [v for v in values if v is not None]
                    if pa.types.is_time(data_type) or pa.types.is_timestamp(data_type):
                        other = [v.to_pydatetime() if hasattr(v, "to_pydatetime") else v for v in other]
                    self.assertEqual(other, [expected])

    def test_one_row_of_all_types(self):
        columns = ", ".join(f"{sql} AS c{n}" for n, (sql, _, _) in enumerate(TYPES))
        table = ask(self.connection, f"SELECT {columns}")
        self.assertEqual(table.shape, (1, len(TYPES)))
        table.validate(full=True)

    def test_many_rows(self):
        sql = "SELECT value AS v FROM generate_series(1, 1000000)"
        column = ask(self.connection, sql).column("v").to_numpy()
        self.assertEqual((len(column), int(column.sum())), (1000000, 500000500000))

    def test_order_of_many_rows(self):
        sql = "SELECT value AS v FROM generate_series(1, 300000) ORDER BY v DESC"
        column = ask(self.connection, sql).column("v").to_numpy()
        self.assertTrue((np.diff(column) == -1).all())

    def test_wide_rows(self):
        """A client takes messages of 16 MiB. A larger batch comes in pieces."""
        sql = "SELECT repeat('x', 1000000) AS v FROM generate_series(1, 40)"
        lengths = [len(v) for v in ask(self.connection, sql).column(0).to_pylist()]
        self.assertEqual(lengths, [1000000] * 40)

    def test_side_by_side(self):
        found, failed = [], []

        def run(number):
            try:
                with connect(READER) as connection:
                    for _ in range(5):
                        sql = f"SELECT count(*) FROM candidates WHERE tic_id <= {number}"
                        found.append(value(connection, sql) == number)
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=run, args=(n,)) for n in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(failed, [])
        self.assertEqual(found, [True] * 40)

    def test_two_cursors(self):
        with self.connection.cursor() as first, self.connection.cursor() as second:
            first.execute("SELECT tic_id FROM candidates ORDER BY 1")
            self.assertEqual(first.fetchone(), (1,))
            second.execute("SELECT -tic_id FROM candidates ORDER BY 1 DESC")
            self.assertEqual(second.fetchone(), (-1,))
            self.assertEqual(first.fetchone(), (2,))
            self.assertEqual(second.fetchone(), (-2,))

    def test_image_slice(self):
        sql = "SELECT value FROM image WHERE y BETWEEN 10 AND 19 AND x BETWEEN 5 AND 30 ORDER BY y, x"
        flat = ask(self.connection, sql).column(0).to_numpy()
        self.assertEqual(flat.dtype, np.float32)
        np.testing.assert_array_equal(flat.reshape(10, 26), SERVER.image[10:20, 5:31])

    def test_image_lines(self):
        sql = "SELECT array_agg(value ORDER BY x) AS line FROM image WHERE y < 7 GROUP BY y ORDER BY y"
        lines = ask(self.connection, sql).column("line").to_pylist()
        np.testing.assert_array_equal(np.array(lines, np.float32), SERVER.image[:7])


class Parameters(Check):
    user = WRITER

    def test_number(self):
        self.assertEqual(value(self.connection, "SELECT $1 + 1", (41,)), 42)
        sql = "SELECT count(*) FROM candidates WHERE tic_id <= $1 AND stellar_teff >= $2"
        self.assertEqual(value(self.connection, sql, (10, 3010.0)), 8)

    def test_again_with_another_value(self):
        sql = "SELECT count(*) FROM candidates WHERE tic_id <= $1"
        for number in (3, 5, 0):
            self.cursor.execute(sql, (number,))
            self.assertEqual(self.cursor.fetchall(), [(number,)])

    def test_question_mark(self):
        """Supported, or refused plainly: the driver says `qmark` is the style."""
        try:
            self.assertEqual(value(self.connection, "SELECT ? + 1", (41,)), 42)
        except Error as error:
            self.assertIn(error.status_code, (Status.INVALID_ARGUMENT, Status.NOT_IMPLEMENTED))

    def test_null(self):
        self.assertIs(value(self.connection, "SELECT $1 IS NULL", (None,)), True)
        sql = "SELECT count(*) FROM candidates WHERE tic_id = $1"
        self.assertEqual(value(self.connection, sql, (None,)), 0)

    def test_text(self):
        for text in ("it's", '"q"', "; DROP TABLE candidates; --", "back\\slash", "é\n\t", "", "$1"):
            with self.subTest(text=text):
                self.assertEqual(value(self.connection, "SELECT $1", (text,)), text)
                self.assertIs(value(self.connection, "SELECT $1 = $2", (text, text)), True)

    def test_other_types(self):
        for given in (
            True, 2.5, b"\x00\xff", datetime.date(2024, 2, 29),
            datetime.datetime(2024, 2, 29, 12, 34, 56), decimal.Decimal("12.34"),
        ):  # fmt: skip
            with self.subTest(given=given):
                self.assertEqual(value(self.connection, "SELECT $1 AS v", (given,)), given)

    def test_typed_batch(self):
        batch = pa.record_batch([pa.array([7], pa.int32())], names=["p"])
        self.assertEqual(value(self.connection, "SELECT $1", batch), 7)

    def test_several_sets_for_a_query(self):
        """Each set has its rows, or the call is refused. No set is dropped in silence."""
        batch = pa.record_batch([pa.array([1, 2, 3], pa.int64())], names=["p"])
        try:
            rows = ask(self.connection, "SELECT $1 AS v", batch).column(0).to_pylist()
        except Error as error:
            self.assertIn(error.status_code, (Status.INVALID_ARGUMENT, Status.NOT_IMPLEMENTED))
        else:
            self.assertEqual(rows, [1, 2, 3])

    def test_missing(self):
        self.assertRefused("SELECT $1 + 1", Status.INVALID_ARGUMENT, Status.INVALID_STATE)
        self.assertRefused(
            lambda: ask(self.connection, "SELECT $1 + $2", (1,)),
            Status.INVALID_ARGUMENT, Status.INVALID_STATE,
        )  # fmt: skip

    def test_many_inserts(self):
        start = pa.table({"a": pa.array([0], pa.int64()), "s": pa.array(["start"])})
        self.cursor.adbc_ingest("parameters_table", start, mode="replace")
        rows = [(1, "x"), (2, "it's"), (3, None), (None, "")]
        self.cursor.executemany("INSERT INTO parameters_table VALUES ($1, $2)", rows)
        self.assertEqual(self.cursor.rowcount, len(rows))
        got = ask(self.connection, "SELECT a, s FROM parameters_table ORDER BY a NULLS LAST")
        self.assertEqual(got.to_pydict(), {
            "a": [0, 1, 2, 3, None], "s": ["start", "x", "it's", None, ""],
        })  # fmt: skip
        batch = pa.record_batch(
            [pa.array(range(100, 600), pa.int64()), pa.array(["b"] * 500)], names=["a", "s"]
        )
        self.cursor.executemany("INSERT INTO parameters_table VALUES ($1, $2)", batch)
        self.assertEqual(self.cursor.rowcount, 500)
        self.assertEqual(value(self.connection, "SELECT count(*) FROM parameters_table"), 505)

    def test_insert_runs_once(self):
        """The driver sends INSERT as a query, and need not read its answer."""
        start = pa.table({"a": pa.array([0], pa.int64())})
        self.cursor.adbc_ingest("once_table", start, mode="replace")
        with self.connection.cursor() as cursor:
            cursor.execute("INSERT INTO once_table VALUES (1)")
        self.assertEqual(value(self.connection, "SELECT count(*) FROM once_table"), 2)
        ask(self.connection, "INSERT INTO once_table VALUES (2)")
        self.assertEqual(value(self.connection, "SELECT count(*) FROM once_table"), 3)


class Ingest(Check):
    user = WRITER
    ROWS = pa.table({"a": pa.array([1, 2], pa.int64()), "s": pa.array(["x", None])})

    def ingest(self, name, mode, rows=None, **options):
        with self.connection.cursor() as cursor:
            return cursor.adbc_ingest(name, self.ROWS if rows is None else rows, mode, **options)

    def count(self, name):
        return value(self.connection, f"SELECT count(*) FROM {name}")

    def test_create(self):
        self.assertEqual(self.ingest("ingest_create", "create"), 2)
        got = ask(self.connection, "SELECT * FROM ingest_create ORDER BY a")
        self.assertEqual(got.to_pydict(), self.ROWS.to_pydict())
        with self.assertRaises(Error) as caught:
            self.ingest("ingest_create", "create")
        status = caught.exception.status_code
        self.assertEqual(status, Status.ALREADY_EXISTS, str(caught.exception))
        self.assertEqual(self.count("ingest_create"), 2)

    def test_append(self):
        self.ingest("ingest_append", "create")
        self.assertEqual(self.ingest("ingest_append", "append"), 2)
        self.assertEqual(self.count("ingest_append"), 4)
        with self.assertRaises(Error) as caught:
            self.ingest("ingest_missing", "append")
        self.assertEqual(caught.exception.status_code, Status.NOT_FOUND, str(caught.exception))
        self.assertRefused("SELECT * FROM ingest_missing", Status.NOT_FOUND)

    def test_append_of_another_schema(self):
        self.ingest("ingest_schema", "create")
        for rows in (
            pa.table({"a": ["text"], "s": ["x"]}),
            pa.table({"a": pa.array([1], pa.int64())}),
            pa.table({"a": pa.array([1], pa.int64()), "s": ["x"], "more": [1]}),
            pa.table({"other": pa.array([1], pa.int64()), "s": ["x"]}),
        ):
            with self.subTest(schema=str(rows.schema.names)):
                with self.assertRaises(Error) as caught:
                    self.ingest("ingest_schema", "append", rows)
                status = caught.exception.status_code
                self.assertEqual(status, Status.INVALID_ARGUMENT, str(caught.exception))
                self.assertEqual(self.count("ingest_schema"), 2)

    def test_append_ignores_metadata(self):
        """pandas and others leave notes in the schema. They are no difference."""
        self.ingest("ingest_notes", "create")
        self.ingest("ingest_notes", "append", self.ROWS.replace_schema_metadata({"note": "x"}))
        self.assertEqual(self.count("ingest_notes"), 4)

    def test_replace(self):
        self.assertEqual(self.ingest("ingest_replace", "replace"), 2)
        other = pa.table({"b": pa.array([1.5, 2.5, 3.5])})
        self.assertEqual(self.ingest("ingest_replace", "replace", other), 3)
        got = ask(self.connection, "SELECT * FROM ingest_replace ORDER BY b")
        self.assertEqual(got.to_pydict(), other.to_pydict())

    def test_create_append(self):
        self.assertEqual(self.ingest("ingest_both", "create_append"), 2)
        self.assertEqual(self.ingest("ingest_both", "create_append"), 2)
        self.assertEqual(self.count("ingest_both"), 4)

    def test_no_rows(self):
        nothing = pa.RecordBatch.from_pylist([], schema=self.ROWS.schema)
        self.assertEqual(self.ingest("ingest_empty", "create", nothing), 0)
        got = ask(self.connection, "SELECT * FROM ingest_empty")
        self.assertEqual((got.num_rows, got.schema.types), (0, self.ROWS.schema.types))

    def test_no_batches(self):
        """Of a stream without batches the driver sends nothing, not even a descriptor."""
        with self.assertRaises(Error):
            self.ingest("ingest_nothing", "create", self.ROWS.slice(0, 0).to_reader())
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_named_place(self):
        place = {"catalog_name": "datafusion", "db_schema_name": "public"}
        self.assertEqual(self.ingest("ingest_place", "create", **place), 2)
        self.assertEqual(self.count("datafusion.public.ingest_place"), 2)
        with self.assertRaises(Error):
            self.ingest("ingest_place", "create", catalog_name="no_such_catalog")

    def test_names(self):
        """A name is a name: it may need quotes, and is never a path."""
        self.ingest("Mixed Case", "create")
        self.assertEqual(self.count('"Mixed Case"'), 2)
        for name in ("../escaped", "/tmp/escaped", "a/../../escaped", "", "..", "nul\0byte"):
            try:
                self.ingest(name, "create")
            except (Error, ValueError):
                pass
            stray = [p for p in SERVER.root.rglob("*escaped*") if SERVER.writable not in p.parents]
            self.assertEqual(stray, [], name)
            self.assertFalse(os.path.exists("/tmp/escaped"), name)

    def test_large_batch(self):
        """One message of 15 MB, as large as the driver sends, and a stream of many batches."""
        rows = pa.table({"n": pa.array(np.arange(1_900_000))})
        self.assertEqual(self.ingest("ingest_large", "create", rows), 1_900_000)
        self.assertEqual(value(self.connection, "SELECT sum(n) FROM ingest_large"), 1804999050000)
        batches = rows.slice(0, 100_000).to_reader(max_chunksize=1000)
        self.assertEqual(self.ingest("ingest_stream", "create", batches), 100_000)

    def test_broken_stream(self):
        """A reader that fails halfway fails the call. (The driver ends the stream as if whole.)"""

        def batches():
            yield self.ROWS.to_batches()[0]
            raise OSError("the disk is gone")

        stream = pa.RecordBatchReader.from_batches(self.ROWS.schema, batches())
        with self.assertRaises((Error, OSError)):
            self.ingest("ingest_broken", "create", stream)
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_client_killed(self):
        """A client that dies while it sends leaves no table, and no file."""
        code = CLIENT + (
            "import pyarrow as pa\n"
            "schema = pa.schema([('a', pa.int64())])\n"
            "def batches():\n"
            "    while True:\n"
            "        print('batch', flush=True); time.sleep(0.1)\n"
            "        yield pa.record_batch([pa.array(range(100000), pa.int64())], schema=schema)\n"
            "rows = pa.RecordBatchReader.from_batches(schema, batches())\n"
            "c.cursor().adbc_ingest('ingest_killed', rows, mode='create')\n"
        )
        files = set(SERVER.writable.rglob("*"))
        with killed_after(code, 1.0):
            self.assertRefused("SELECT * FROM ingest_killed", Status.NOT_FOUND)
        time.sleep(1)
        self.assertRefused("SELECT * FROM ingest_killed", Status.NOT_FOUND)
        self.assertEqual(set(SERVER.writable.rglob("*")) - files, set())

    def test_types(self):
        rows = pa.table({
            "i8": pa.array([-1, None], pa.int8()), "i16": pa.array([-2, None], pa.int16()),
            "i32": pa.array([-3, None], pa.int32()), "i64": pa.array([-4, None], pa.int64()),
            "u8": pa.array([1, None], pa.uint8()), "u16": pa.array([2, None], pa.uint16()),
            "u32": pa.array([3, None], pa.uint32()), "u64": pa.array([2**63, None], pa.uint64()),
            "f32": pa.array([1.5, None], pa.float32()), "f64": pa.array([2.5, None]),
            "s": pa.array(["é'\"", None]), "b": pa.array([b"\x00\xff", None]),
            "o": pa.array([True, None]), "d": pa.array([datetime.date(2024, 2, 29), None]),
            "t": pa.array([datetime.time(12, 34, 56, 789), None], pa.time64("us")),
            "ts": pa.array([datetime.datetime(2024, 2, 29, 1), None], pa.timestamp("us")),
            "tz": pa.array([datetime.datetime(2024, 2, 29, 1), None], pa.timestamp("us", "UTC")),
            "dec": pa.array([decimal.Decimal("12.340"), None], pa.decimal128(10, 3)),
            "l": pa.array([[1, None], None], pa.list_(pa.int64())),
            "st": pa.array([{"a": 1, "b": "x"}, None]),
            "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "di": pa.array(["x", None]).dictionary_encode(),
        })  # fmt: skip
        self.assertEqual(self.ingest("ingest_types", "create", rows), 2)
        for name in rows.column_names:
            with self.subTest(column=name):
                got = ask(self.connection, f"SELECT {name} FROM ingest_types")
                self.assertEqual(kind_of(got.schema[0].type), kind_of(rows.schema.field(name).type))
                self.assertCountEqual(map(str, got[name].to_pylist()), map(str, rows[name].to_pylist()))

    def test_seen_by_others(self):
        self.ingest("ingest_shared", "create")
        other = self.opened(connect(READER))
        self.assertEqual(value(other, "SELECT count(*) FROM ingest_shared"), 2)
        names = other.adbc_get_objects(depth="tables", table_name_filter="ingest_shared").read_all()
        self.assertIn("ingest_shared", str(names.to_pylist()))

    def test_reader_may_not(self):
        reader = self.opened(connect(READER))
        self.ingest("ingest_guarded", "create")
        for mode in ("create", "append", "replace", "create_append"):
            for name in ("ingest_guarded", "ingest_by_reader"):
                with reader.cursor() as cursor, self.assertRaises(Error) as caught:
                    cursor.adbc_ingest(name, self.ROWS, mode)
                status = caught.exception.status_code
                self.assertEqual(status, Status.UNAUTHORIZED, str(caught.exception))
        for sql in (
            "INSERT INTO ingest_guarded VALUES (9, 'z')",
            "DROP TABLE ingest_guarded",
            f"COPY (SELECT 1 AS a) TO '{SERVER.writable}/reader.parquet'",
        ):
            self.assertRefused(sql, connection=reader)
        self.assertEqual(self.count("ingest_guarded"), 2)
        self.assertFalse((SERVER.writable / "reader.parquet").exists())

    def test_served_data_stays(self):
        """Nothing replaces or changes what `--data` holds."""
        for mode in ("create", "append", "replace"):
            with self.assertRaises(Error):
                self.ingest("candidates", mode)
        self.assertEqual(self.count("candidates"), ROWS)


# A cross join that nobody waits for: 10^13 pairs, of which 10^5 rows are held.
ENDLESS = (
    "SELECT sum((a.value + b.value) % 7) AS s "
    "FROM generate_series(1, 100000) AS a CROSS JOIN generate_series(1, 100000000) AS b"
)
HUGE = (
    "SELECT a.value AS a, b.value AS b, repeat('x', 100) AS s "
    "FROM generate_series(1, 100000) AS a CROSS JOIN generate_series(1, 100000000) AS b"
)


class Cancel(Check):
    def assertIdle(self, seconds):
        """Within so many seconds the server uses next to no processor time."""
        deadline = time.monotonic() + seconds
        while True:
            load = SERVER.load(0.25)
            if load < 0.1:
                return
            if time.monotonic() > deadline:
                self.fail(f"still {load:.2f} processors in use after {seconds} s")

    def assertBusy(self):
        self.assertGreater(SERVER.load(1.0), 0.5, "the query does not run")

    def started(self, sql):
        """The cursor of a query in a thread of its own, and where its error comes."""
        cursor, outcome = self.connection.cursor(), []

        def run():
            try:
                outcome.append(cursor.execute(sql).fetchall())
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return cursor, thread, outcome

    def test_cancel(self):
        self.assertIdle(5)
        cursor, thread, outcome = self.started(ENDLESS)
        self.assertBusy()
        cursor.adbc_cancel()
        self.assertIdle(2)
        thread.join(5)
        self.assertFalse(thread.is_alive(), "the client still waits")
        self.assertEqual(outcome[0].status_code, Status.CANCELLED, str(outcome[0]))
        cursor.close()
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_cancel_of_one_leaves_another(self):
        self.assertIdle(5)
        cursor, thread, _ = self.started(ENDLESS)
        self.assertBusy()
        self.assertEqual(value(self.connection, "SELECT count(*) FROM candidates"), ROWS)
        cursor.adbc_cancel()
        thread.join(5)
        cursor.close()
        self.assertIdle(2)

    def test_close_halfway(self):
        self.assertIdle(5)
        cursor = self.connection.cursor()
        reader = cursor.execute(HUGE).fetch_record_batch()
        reader.read_next_batch()
        reader.close()
        cursor.close()
        self.assertIdle(2)

    def test_timeout(self):
        self.assertIdle(5)
        with self.connection.cursor() as cursor:
            options = (StatementOptions.TIMEOUT_QUERY, StatementOptions.TIMEOUT_FETCH)
            cursor.adbc_statement.set_options(**{option.value: 1.0 for option in options})
            with self.assertRaises(Error) as caught:
                cursor.execute(ENDLESS).fetchall()
        self.assertEqual(caught.exception.status_code, Status.TIMEOUT, str(caught.exception))
        self.assertIdle(2)

    def test_client_killed(self):
        self.assertIdle(5)
        before = SERVER.memory()
        code = CLIENT + (
            "k = c.cursor()\n"
            f"r = k.execute({HUGE!r}).fetch_record_batch()\n"
            "while True:\n"
            "    r.read_next_batch(); print('batch', flush=True); time.sleep(0.02)\n"
        )
        with killed_after(code, 2.0):
            during = SERVER.memory()
        self.assertLess(during, before + 512 * MIB, "a slow client makes the server hoard")
        deadline = time.monotonic() + 5
        while SERVER.memory() > before + 128 * MIB and time.monotonic() < deadline:
            time.sleep(0.2)
        after = SERVER.memory()
        grown = f"{before / MIB:.0f} MiB before, {during / MIB:.0f} during, {after / MIB:.0f} after"
        self.assertLess(after, before + 128 * MIB, grown)
        self.assertIdle(2)
        self.assertEqual(value(self.connection, "SELECT 1"), 1)


class Session(Check):
    user = WRITER
    SHOW = "SHOW datafusion.execution.batch_size"

    def batch_size(self, connection):
        return ask(connection, self.SHOW).column("value")[0].as_py()

    def set_unread(self, connection, sql):
        """Execute and close at once: then the driver may never ask for the answer."""
        with connection.cursor() as cursor:
            cursor.execute(sql)

    def check_set(self, first, second):
        default = self.batch_size(second)
        self.assertNotEqual(default, "17")
        self.set_unread(first, "SET datafusion.execution.batch_size = 17")
        self.assertEqual(self.batch_size(first), "17")
        self.assertEqual(self.batch_size(second), default)
        sizes = [b.num_rows for b in ask(first, "SELECT * FROM candidates").to_batches()]
        self.assertLessEqual(max(sizes), 17)

    def test_set(self):
        self.check_set(self.connection, self.opened(connect(WRITER)))

    def test_set_with_token_and_cookies(self):
        self.check_set(*(self.opened(connect_token(WRITER_TOKEN)) for _ in range(2)))

    def test_set_with_token_only(self):
        """Without cookies two connections look alike. SET holds or is refused, not lost."""
        connection = self.opened(connect_token(WRITER_TOKEN, cookies=False))
        try:
            self.set_unread(connection, "SET datafusion.execution.batch_size = 17")
        except Error:
            return
        self.assertEqual(self.batch_size(connection), "17")
        self.set_unread(connection, "SET datafusion.execution.batch_size = 8192")

    def test_set_of_a_clone(self):
        self.check_set(self.connection, self.opened(self.connection.adbc_clone()))

    def test_set_ends_with_the_session(self):
        connection = connect(WRITER)
        self.set_unread(connection, "SET datafusion.execution.batch_size = 17")
        connection.close()
        self.assertNotEqual(self.batch_size(self.opened(connect(WRITER))), "17")

    def test_view(self):
        first, second = self.connection, self.opened(connect(WRITER))
        self.set_unread(first, "CREATE VIEW mine AS SELECT tic_id FROM candidates WHERE tic_id < 6")
        self.assertEqual(value(first, "SELECT count(*) FROM mine"), 5)
        self.assertRefused("SELECT * FROM mine", Status.NOT_FOUND, connection=second)
        names = second.adbc_get_objects(depth="tables", table_name_filter="mine").read_all()
        self.assertNotIn("'mine'", str(names.to_pylist()))
        self.set_unread(second, "CREATE VIEW mine AS SELECT 1 AS one")
        self.assertEqual(value(second, "SELECT * FROM mine"), 1)
        self.assertEqual(value(first, "SELECT count(*) FROM mine"), 5)
        self.assertEqual(first.adbc_get_table_schema("mine").names, ["tic_id"])

    def test_current_names(self):
        """Answered, or said to be unsupported."""
        try:
            self.assertEqual(self.connection.adbc_current_catalog, "datafusion")
            self.assertEqual(self.connection.adbc_current_db_schema, "public")
        except Error as error:
            self.assertIn(error.status_code, (Status.NOT_FOUND, Status.NOT_IMPLEMENTED))


class Transactions(Check):
    user = WRITER

    def test_autocommit_stays(self):
        connection = self.connection.adbc_connection
        with self.assertRaises(adbc_driver_manager.NotSupportedError) as caught:
            connection.set_autocommit(False)
        self.assertIn("transaction", str(caught.exception).lower())
        self.assertEqual(value(self.connection, "SELECT 1"), 1)

    def test_plain_connection(self):
        """A connection that asks for transactions warns, and works."""
        options = {
            "username": WRITER[0],
            "password": WRITER[1],
            DatabaseOptions.TLS_ROOT_CERTS.value: SERVER.authority,
        }
        with self.assertWarns(Warning):
            connection = self.opened(flight_sql.connect(SERVER.uri, db_kwargs=options))
        self.assertEqual(value(connection, "SELECT 1"), 1)
        connection.commit()

    def test_statements(self):
        for sql in ("BEGIN", "COMMIT", "ROLLBACK", "START TRANSACTION"):
            with self.subTest(sql=sql):
                self.assertRefused(sql, Status.NOT_IMPLEMENTED, Status.INVALID_ARGUMENT)


class Refused(Check):
    user = WRITER

    def test_syntax(self):
        self.assertRefused("SELEC 1", Status.INVALID_ARGUMENT)
        self.assertRefused(" ", Status.INVALID_ARGUMENT)
        for sql in ("SELECT no_such_column FROM candidates", "SELECT no_such_function(1)"):
            self.assertRefused(sql, Status.INVALID_ARGUMENT, Status.NOT_FOUND)

    def test_missing_table(self):
        text = self.assertRefused("SELECT * FROM no_such_table", Status.NOT_FOUND)
        self.assertIn("no_such_table", text)
        self.assertRefused("SELECT * FROM no_such_schema.t", Status.NOT_FOUND)

    def test_at_run_time(self):
        sql = "SELECT CAST(concat('x', tic_id) AS BIGINT) FROM candidates"
        self.assertRefused(sql, Status.INVALID_ARGUMENT, Status.INVALID_DATA)

    def test_messages_name_no_inner_place(self):
        text = self.assertRefused("SELECT * FROM no_such_table")
        self.assertNotRegex(text, r"\.rs:\d+")
        self.assertNotIn(str(SERVER.root), text)

    def test_two_statements(self):
        """Both run, or the call is refused: none is dropped in silence."""
        try:
            with self.connection.cursor() as cursor:
                cursor.execute("CREATE VIEW two_a AS SELECT 1 AS a; CREATE VIEW two_b AS SELECT 2 AS b")
        except Error:
            return
        self.assertEqual(value(self.connection, "SELECT b FROM two_b"), 2)

    def paths(self):
        data, outside = SERVER.data, SERVER.outside
        return [
            "/etc/passwd",
            "file:///etc/passwd",
            "file://localhost/etc/passwd",
            "FILE:///etc/passwd",
            "file:/etc/passwd",
            "/etc/*",
            "/etc/pass*",
            "/",
            f"{data}/../..",
            f"{data}/../outside/secret.csv",
            f"{data}/%2e%2e/outside/secret.csv",
            f"file://{data}/../outside/secret.csv",
            f"file://{data}/%2e%2e/outside/secret.csv",
            f"{data}/candidates/../../outside/secret.parquet",
            f"{data}-not-this/secret.csv",
            "../outside/secret.csv",
            "./../outside/secret.csv",
            "candidates/../../outside/secret.parquet",
            f"{outside}/secret.csv",
            f"{outside}/secret.parquet",
            f"{outside}/secret.h5",
            f"{outside}/*.csv",
            f"{outside}/",
            f"{data}/link.csv",
            f"{data}/link.parquet",
            f"{data}/linked_folder/secret.csv",
            f"{data}/linked_folder/",
            f"{data}/*/secret.csv",
            f"{data}/link*.csv",
            "link.csv",
            "linked_folder/secret.csv",
            "linked_folder/*.parquet",
            "/proc/self/environ",
            "/dev/zero",
            str(SERVER.root / "users.toml"),
            str(SERVER.root / "key.pem"),
        ]

    def addresses(self):
        return [
            "http://169.254.169.254/",
            "http://169.254.169.254/latest/meta-data/x.csv",
            "http://127.0.0.1:1/",
            "http://127.0.0.1:1/x.parquet",
            "http://localhost:1/x.csv",
            "https://[::1]:1/x.csv",
            "s3://bucket/x.parquet",
            "gs://bucket/x.parquet",
            "az://container/x.parquet",
        ]

    def test_paths(self):
        for path in self.paths():
            with self.subTest(path=path):
                self.assertRefused(f"SELECT * FROM '{path}'")

    def test_addresses(self):
        for address in self.addresses():
            with self.subTest(address=address):
                self.assertRefused(f"SELECT * FROM '{address}'")

    def test_functions_with_paths(self):
        outside = SERVER.outside
        for call in (
            f"read_csv('{outside}/secret.csv')",
            f"read_parquet('{outside}/secret.parquet')",
            f"read_hdf5('{outside}/secret.h5')",
            f"read_hdf5('{outside}/*.h5', dataset => 'image')",
            f"read_hdf5('{SERVER.data}/linked_folder/secret.h5')",
            f"array_info('{outside}/secret.h5')",
            f"crop('{outside}/secret.h5', y => [0, 2], x => [0, 2])",
            f"crop((SELECT * FROM '{outside}/secret.h5'), y => [0, 2], x => [0, 2])",
            "read_csv('/etc/passwd')",
            "read_csv('http://127.0.0.1:1/x.csv')",
        ):
            with self.subTest(call=call):
                self.assertRefused(f"SELECT * FROM {call}")

    def test_paths_in_other_places(self):
        path = f"{SERVER.outside}/secret.csv"
        for sql in (
            f"SELECT (SELECT word FROM '{path}')",
            f"WITH w AS (SELECT * FROM '{path}') SELECT * FROM w",
            f"SELECT * FROM candidates WHERE EXISTS (SELECT * FROM '{path}')",
            f"EXPLAIN SELECT * FROM '{path}'",
            f"EXPLAIN ANALYZE SELECT * FROM '{path}'",
            f"DESCRIBE '{path}'",
            f"CREATE VIEW peek AS SELECT * FROM '{path}'",
            f"CREATE TABLE peek AS SELECT * FROM '{path}'",
            f"COPY (SELECT * FROM '{path}') TO '{SERVER.writable}/peek.csv'",
            f"INSERT INTO candidates SELECT 1, 2, 3, 4 FROM '{path}'",
            f'SELECT * FROM "{path}"',
        ):
            with self.subTest(sql=sql):
                self.assertRefused(sql)

    def test_settings(self):
        for sql in (
            "SET almagest.cluster = 'http://127.0.0.1:1'",
            "SET almagest.cluster = 'local:2'",
            "SET almagest.scheduler = 'cluster'",
            "SET almagest.scheduler = 'processes'",
            "SET datafusion.runtime.memory_limit = '900G'",
            "SET datafusion.runtime.temp_directory = '/tmp'",
            "SET datafusion.runtime.max_temp_directory_size = '900G'",
            "SET no.such.setting = 1",
        ):
            with self.subTest(sql=sql):
                self.assertRefused(sql)

    def test_copy_inside(self):
        """What is refused elsewhere works in the writable directory, for a writer."""
        place = SERVER.writable / "copied.parquet"
        ask(self.connection, f"COPY (SELECT 7 AS a) TO '{place}'")
        self.assertEqual(pyarrow.parquet.read_table(place).to_pydict(), {"a": [7]})

    def test_copy_outside(self):
        link = SERVER.writable / "way_out"
        link.symlink_to(SERVER.outside)
        self.addCleanup(link.unlink)
        for path in (
            f"{SERVER.outside}/out.csv",
            f"file://{SERVER.outside}/out.csv",
            f"{SERVER.writable}/../outside/out.csv",
            f"{link}/out.csv",
            f"{SERVER.data}/out.csv",
            f"{SERVER.data}/candidates/part-9.parquet",
            f"{SERVER.writable}-not-this/out.csv",
            "../outside/out.csv",
            "http://127.0.0.1:1/out.csv",
            "s3://bucket/out.csv",
        ):
            with self.subTest(path=path):
                self.assertRefused(f"COPY (SELECT 1 AS a) TO '{path}'")
        found = [p for p in SERVER.root.rglob("*") if p.name.startswith(("out.", "part-9"))]
        self.assertEqual(found, [])

    def test_external_table(self):
        for place in ("/etc/passwd", f"{SERVER.outside}/secret.csv", "http://127.0.0.1:1/x.csv"):
            with self.subTest(place=place):
                sql = f"CREATE EXTERNAL TABLE stolen STORED AS CSV LOCATION '{place}'"
                self.assertRefused(sql)
                self.assertRefused("SELECT * FROM stolen", Status.NOT_FOUND)

    def test_served_table_stays(self):
        for sql in ("DROP TABLE candidates", "DROP TABLE image", "DROP SCHEMA public CASCADE"):
            with self.subTest(sql=sql):
                self.assertRefused(sql)
        other = self.opened(connect(READER))
        self.assertEqual(value(other, "SELECT count(*) FROM candidates"), ROWS)


class Tools(Check):
    user = WRITER

    def test_pandas(self):
        import pandas

        frame = pandas.read_sql("SELECT tic_id, stellar_teff FROM candidates ORDER BY 1", self.connection)
        self.assertEqual(frame.shape, (ROWS, 2))
        self.assertEqual(frame["stellar_teff"].iloc[-1], 3000.0 + (ROWS - 1) * 5)

    def test_pandas_writes(self):
        import pandas

        frame = pandas.DataFrame({"a": [1, 2, 3], "s": ["x", "y", None]})
        self.assertEqual(frame.to_sql("pandas_table", self.connection, index=False), 3)
        frame.to_sql("pandas_table", self.connection, index=False, if_exists="append")
        self.assertEqual(value(self.connection, "SELECT count(*) FROM pandas_table"), 6)

    def test_polars(self):
        import polars

        frame = polars.read_database("SELECT * FROM candidates", self.connection)
        self.assertEqual(frame.shape, (ROWS, 4))
        self.assertEqual(frame.schema["tic_id"], polars.Int64)
        self.assertEqual(frame["tic_id"].sum(), ROWS * (ROWS + 1) // 2)

    def test_polars_batches(self):
        import polars

        parts = polars.read_database(
            "SELECT * FROM candidates", self.connection, iter_batches=True, batch_size=100
        )
        self.assertEqual(sum(part.height for part in parts), ROWS)

    def test_polars_writes(self):
        import polars

        frame = polars.DataFrame({"a": [1, 2, 3]})
        frame.write_database("polars_table", self.connection, engine="adbc")
        self.assertEqual(value(self.connection, "SELECT sum(a) FROM polars_table"), 6)


def environment(user=WRITER):
    """What the recipes read, and nothing of this user's notebooks."""
    home = SERVER.root / "home"
    home.mkdir(exist_ok=True)
    return {
        **os.environ,
        "ALMAGEST_URI": SERVER.uri,
        "ALMAGEST_USER": user[0],
        "ALMAGEST_PASSWORD": user[1],
        "ALMAGEST_CA": str(SERVER.root / "ca.pem"),
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "PLOOMBER_STATS_ENABLED": "false",
        "PLOOMBER_VERSION_CHECK_DISABLED": "true",
        "NO_COLOR": "1",
    }


# IPython runs the recipes, since one of them has magics.
RUNNER = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell(sys.stdin.read()).raise_error()
"""


class Recipes(unittest.TestCase):
    """The ```python block of each page of the documentation, as it stands."""


def almagest(*words, password=None, stdin="", **more):
    """The shell of a server: what it answered, told and ended with."""
    environ = {**environment(), "ALMAGEST_PASSWORD": password or ""}
    if password is None:
        del environ["ALMAGEST_PASSWORD"]
    words = [SERVER.binary, *map(str, words)]
    return subprocess.run(
        words, env=environ, input=stdin, capture_output=True, text=True, timeout=60, **more
    )


@contextlib.contextmanager
def another_server(*words):
    """One with other options; its process has `uri`, `told` and `log`."""
    words = [SERVER.binary, "serve", "--flight", "127.0.0.1:0", *map(str, words)]
    log = tempfile.NamedTemporaryFile("r", dir=SERVER.root)
    with open(log.name, "w") as told:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told, text=True
        )
    try:
        process.uri = process.stdout.readline().strip()
        assert process.uri, f"the server ended: {log.read()}"
        process.log = log
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        log.close()


class Shell(unittest.TestCase):
    """`almagest --connect`, over TLS."""

    def asked(self, sql, *words, user=READER, password=True, **more):
        password = user[1] if password is True else password
        return almagest(
            "--connect", SERVER.uri, "--tls-ca", SERVER.root / "ca.pem", "--user", user[0],
            "-q", "--format", "csv", "-c", sql, *words, password=password, **more,
        )  # fmt: skip

    def test_query(self):
        answer = self.asked("SELECT count(*) AS n FROM candidates; SELECT max(value) AS m FROM image")
        self.assertEqual(answer.stdout, f"n\n{ROWS}\nm\n{64 * 48 - 1}.0\n", answer.stderr)
        self.assertEqual(answer.returncode, 0)

    def test_password_on_standard_input(self):
        answer = self.asked("SELECT 1 AS one", password=None, stdin=READER[1] + "\n")
        self.assertEqual(answer.stdout, "one\n1\n", answer.stderr)

    def test_wrong_password(self):
        answer = self.asked("SELECT 1", user=("dora", "nothing"))
        self.assertEqual((answer.returncode, answer.stdout), (1, ""))
        self.assertIn("the user, password or token is wrong", answer.stderr)

    def test_unknown_authority(self):
        answer = almagest("--connect", SERVER.uri, "-c", "SELECT 1")
        self.assertEqual((answer.returncode, answer.stdout), (1, ""))
        self.assertIn("unreachable: no answer", answer.stderr)
        self.assertIn("ertificate", answer.stderr)

    def test_without_tls(self):
        answer = almagest("--connect", SERVER.uri.replace("grpc+tls", "grpc"), "-c", "SELECT 1")
        self.assertEqual((answer.returncode, answer.stdout), (1, ""))
        self.assertIn("a server with TLS is reached by grpc+tls://", answer.stderr)

    def test_missing_table(self):
        answer = self.asked("SELECT * FROM candidate")
        self.assertEqual(answer.returncode, 1)
        self.assertIn("did you mean candidates", answer.stderr)
        self.assertIn("^", answer.stderr)


class Operations(unittest.TestCase):
    """Servers with other options."""

    QUERY = "SELECT count(value) AS n FROM random_normal([5000, 5000], seed => 1)"

    def test_client_certificates(self):
        root = SERVER.root
        tls = ("--tls-cert", root / "cert.pem", "--tls-key", root / "key.pem")
        with another_server("--anonymous", *tls, "--tls-client-ca", root / "client-ca.pem") as server:
            def shown(*words):
                ca = ("--tls-ca", root / "ca.pem")
                return almagest("--connect", server.uri, *ca, *words, "-q", "--format", "csv", "-c", "SELECT 1 AS one")

            def named(name):
                key = root / f"{name}-key.pem"
                return ("--tls-client-cert", root / f"{name}.pem", "--tls-client-key", key)

            answer = shown(*named("client"))
            self.assertEqual(answer.stdout, "one\n1\n", answer.stderr)
            for words in ((), named("stranger")):
                answer = shown(*words)
                self.assertEqual((answer.returncode, answer.stdout), (1, ""))
                self.assertIn("unreachable", answer.stderr)

    def test_health_and_metrics(self):
        with another_server("--anonymous", "--http", "127.0.0.1:0") as server:
            told = ""
            while "/metrics" not in told:
                told += server.log.readline()
            base = re.search(r"(http://\S+)/metrics", told)[1]
            for path, expected in (("healthz", ""), ("readyz", ""), ("metrics", "almagest_queries_running 0")):
                with urllib.request.urlopen(f"{base}/{path}", timeout=10) as answer:
                    self.assertEqual(answer.status, 200)
                    self.assertIn(expected, answer.read().decode())

    def test_a_query_may_end(self):
        """SIGTERM: what runs has time to end."""
        with another_server("--anonymous", "--threads", "2") as server:
            client = pa.flight.FlightClient(server.uri)
            info = client.get_flight_info(statement_query(self.QUERY))
            outcome = []
            thread = threading.Thread(
                target=lambda: outcome.append(client.do_get(info.endpoints[0].ticket).read_all())
            )
            thread.start()
            time.sleep(0.3)
            server.terminate()
            thread.join(60)
            self.assertEqual(outcome[0].to_pydict(), {"n": [25_000_000]})
            client.close()
            self.assertEqual(server.wait(30), 0)

    def test_but_not_for_ever(self):
        with another_server("--anonymous", "--grace", "1") as server:
            client = pa.flight.FlightClient(server.uri)
            info = client.get_flight_info(statement_query(ENDLESS))
            outcome = []

            def fetch():
                try:
                    outcome.append(client.do_get(info.endpoints[0].ticket).read_all())
                except (pa.flight.FlightError, pa.ArrowException, OSError) as error:
                    outcome.append(error)

            thread = threading.Thread(target=fetch)
            thread.start()
            time.sleep(0.3)
            server.terminate()
            server.wait(30)
            thread.join(30)
            self.assertIsInstance(outcome[0], Exception)

    def test_options_from_a_file(self):
        path = SERVER.root / "options.toml"
        path.write_text(f'anonymous = true\ndata = ["{SERVER.data}"]\nmax_rows = 10\n')
        with another_server("--config", path) as server:
            answer = almagest("--connect", server.uri, "-q", "--format", "csv", "-c",
                              "SELECT count(*) AS n FROM candidates; SELECT * FROM candidates")  # fmt: skip
            self.assertEqual((answer.returncode, answer.stdout.splitlines()[:2]), (1, ["n", str(ROWS)]))
            self.assertIn("more than the 10 rows", answer.stderr)

    def test_open_by_oversight(self):
        for words, told in (
            (["--anonymous", "--flight", "0.0.0.0:0"], "--insecure"),
            ([], "--anonymous"),
            (["--users", str(SERVER.root / "users.toml"), "--flight", "0.0.0.0:0"], "--tls-cert"),
        ):
            answer = almagest("serve", *words)
            self.assertNotEqual(answer.returncode, 0)
            self.assertIn(told, answer.stderr)


def add_recipes():
    for page in sorted(DOCS.glob("*.md")):
        blocks = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.S | re.M)
        if not blocks:
            continue

        def check(self, blocks=blocks):
            self.assertEqual(len(blocks), 1, "a page has one python block")
            done = subprocess.run(
                [sys.executable, "-c", RUNNER], input=blocks[0], env=environment(),
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, (done.stdout + done.stderr)[-1500:])
            self.assertTrue(done.stdout.strip(), "the recipe prints nothing")

        setattr(Recipes, f"test_{page.stem.replace('-', '_')}", check)


# ---- One line a check


def name_of(test):
    return test.id().removeprefix("__main__.").replace(".test_", ".")


class Lines(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed, self.bad, self.left_out = 0, set(), 0

    def startTest(self, test):
        super().startTest(test)
        self.start, self.notes = time.monotonic(), []

    def note(self, test, error, place=""):
        text = str(error[1]).strip() or error[0].__name__
        if not isinstance(error[1], AssertionError):
            text = f"{error[0].__name__}: {text}"
        self.notes.append((f"[{place}] " if place else "") + " ".join(text.split())[:600])
        self.bad.add(test.id())

    def addError(self, test, error):
        self.note(test, error)
        if not isinstance(test, unittest.TestCase):
            print(f"FAIL {test}: {self.notes[-1]}", flush=True)

    addFailure = addError

    def addSubTest(self, test, subtest, error):
        if error is not None:
            self.note(test, error, ", ".join(str(v) for v in subtest.params.values()))

    def addSkip(self, test, reason):
        self.left_out += 1
        self.notes.append(f"left out: {reason}")

    def stopTest(self, test):
        name = name_of(test)
        took = f"{time.monotonic() - self.start:.1f} s"
        if test.id() in self.bad:
            print(f"FAIL {name} ({took}): " + " | ".join(self.notes), flush=True)
        elif self.notes:
            print(f"skip {name}: " + " | ".join(self.notes), flush=True)
        else:
            self.passed += 1
            print(f"ok   {name} ({took})", flush=True)
        super().stopTest(test)


def main():
    global SERVER, DOCS
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("binary", help="the almagest to start")
    parser.add_argument("-k", default="*", help="only checks whose name fits this pattern")
    parser.add_argument("--docs", type=pathlib.Path, default=REPOSITORY / "docs" / "clients")
    parser.add_argument("--dry-run", action="store_true", help="make the files, start no server")
    arguments = parser.parse_args()
    DOCS = arguments.docs
    add_recipes()
    warnings.simplefilter("ignore", ResourceWarning)
    warnings.filterwarnings("ignore", message="Cannot disable autocommit")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="almagest-clients-") as folder:
        SERVER = Server(pathlib.Path(folder).resolve(), arguments.binary)
        checks = unittest.TestSuite()
        loader = unittest.TestLoader()
        classes = (Login, Browse, Queries, Parameters, Ingest, Cancel, Session, Transactions,
                   Refused, Tools, Shell, Operations, Recipes)  # fmt: skip
        for group in classes:
            for check in loader.loadTestsFromTestCase(group):
                if fnmatch.fnmatch(name_of(check).lower(), f"*{arguments.k.lower()}*"):
                    checks.addTest(check)
        if arguments.dry_run:
            print(f"{checks.countTestCases()} checks, files in order")
            return 0
        lines = Lines()
        try:
            SERVER.start()
            checks.run(lines)
        finally:
            SERVER.stop()
        if lines.bad:
            print("the end of the server's log:", SERVER.log(), sep="\n")
        if not lines.testsRun:
            print("no check has such a name")
            return 1
        extra = f", {lines.left_out} skipped" if lines.left_out else ""
        print(f"{lines.passed} passed, {len(lines.bad)} failed{extra}")
        return 1 if lines.bad else 0


if __name__ == "__main__":
    sys.exit(main())
