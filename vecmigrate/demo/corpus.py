"""The demo corpus: documentation of the running Python's own standard library.

Every importable, documented, public module, class and function of a fixed list of
modules becomes one item, as do the methods of the classes that people look up most.
Nothing is downloaded: the text is what the interpreter itself carries, so it differs a
little between Python versions, and it is empty under ``python -OO``, which strips
docstrings.  Modules that this Python lacks are left out without a word.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 300
MIN_DOC = 12

# Modules that import quietly everywhere and are not due for removal.
_MODULES = """
    builtins abc argparse array ast asyncio atexit base64 binascii bisect builtins bz2 calendar
    cmath cmd code codecs collections collections.abc colorsys compileall concurrent.futures
    configparser contextlib contextvars copy copyreg cProfile csv ctypes ctypes.util
    dataclasses datetime dbm decimal difflib dis doctest email email.generator email.header
    email.message email.parser email.utils enum errno faulthandler fcntl filecmp fileinput
    fnmatch fractions ftplib functools gc getopt getpass gettext glob graphlib grp gzip hashlib
    heapq hmac html html.parser http http.client http.cookiejar http.server imaplib importlib
    importlib.abc importlib.machinery importlib.metadata importlib.resources importlib.util
    inspect io ipaddress itertools json json.decoder json.encoder keyword linecache locale
    logging logging.config logging.handlers lzma marshal math mimetypes mmap multiprocessing
    multiprocessing.pool multiprocessing.shared_memory netrc numbers operator os os.path
    pathlib pdb pickle pkgutil platform plistlib poplib pprint profile pstats pwd py_compile
    queue random re reprlib resource runpy sched secrets select selectors shelve shlex shutil
    site signal smtplib socket socketserver sqlite3 ssl stat statistics string struct
    subprocess sys sysconfig syslog tarfile tempfile textwrap threading time timeit tokenize
    tomllib trace traceback tracemalloc tty types typing unicodedata unittest unittest.mock
    urllib urllib.error urllib.parse urllib.request urllib.robotparser uuid venv warnings wave
    weakref webbrowser wsgiref wsgiref.simple_server xml xml.dom xml.dom.minidom
    xml.etree.ElementTree xml.sax xml.sax.handler xml.sax.saxutils xmlrpc xmlrpc.client zipapp
    zipfile zipimport zlib zoneinfo
"""

# Classes whose methods and properties become items too, in the name people write.
_CLASSES = """
    BaseException collections.abc.MutableSequence str bytes int float list tuple dict set frozenset object argparse.ArgumentParser
    asyncio.BaseEventLoop asyncio.Task asyncio.TaskGroup collections.Counter
    collections.OrderedDict collections.deque concurrent.futures.Executor
    concurrent.futures.Future concurrent.futures.ThreadPoolExecutor configparser.ConfigParser
    contextvars.ContextVar csv.DictReader csv.DictWriter csv.Sniffer datetime.date
    datetime.datetime datetime.timedelta decimal.Decimal difflib.SequenceMatcher
    email.message.EmailMessage filecmp.dircmp ftplib.FTP fractions.Fraction
    graphlib.TopologicalSorter http.server.BaseHTTPRequestHandler ipaddress.IPv4Address
    ipaddress.IPv4Network json.JSONEncoder logging.Logger mmap.mmap multiprocessing.Process
    multiprocessing.pool.Pool pathlib.Path pathlib.PurePath queue.Queue random.Random re.Match
    smtplib.SMTP socket.socket sqlite3.Connection sqlite3.Cursor string.Formatter
    string.Template subprocess.Popen tarfile.TarFile tempfile.SpooledTemporaryFile
    tempfile.TemporaryDirectory threading.Thread types.SimpleNamespace unittest.TestCase
    unittest.mock.Mock urllib.robotparser.RobotFileParser uuid.UUID
    xml.etree.ElementTree.ElementTree xml.etree.ElementTree.XMLParser zipfile.ZipFile
"""

MODULES = tuple(dict.fromkeys(_MODULES.split()))
CLASSES = tuple(_CLASSES.split())

# What the standard library writes where nobody wrote anything.
_EMPTY_DOCS = frozenset({"An enumeration.", "A collection of name/value pairs."})
_EMPTY_SIGNATURES = frozenset({"()", "(*args, **kwargs)", "(/, *args, **kwargs)"})
_ADDRESS = re.compile(r"<(?:[^<>]|<[^<>]*>)* at 0x[0-9a-fA-F]+>")
_LIVE_LIST = re.compile(r"=\[(?:\.\.\.(?:, )?)+\]")  # logging.shutdown defaults to the handlers of the moment
_ROUTINES = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_MEMBERS = (
    *_ROUTINES,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    classmethod,
    staticmethod,
    property,
)


@dataclass(frozen=True)
class Item:
    """One entry of the corpus; ``id`` is the qualified name as people write it."""

    id: str
    title: str
    text: str
    kind: str
    module: str


@dataclass(frozen=True)
class _Found:
    """An object met under one name, before names of the same object are merged."""

    id: str
    obj: Any
    doc: str
    kind: str
    module: str


def load() -> list[Item]:
    """Return the corpus of the running Python, sorted by id, the same on every call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = sorted(_find_all(), key=lambda each: each.id.count("."))
        return sorted(map(_item, _merge(found)), key=lambda item: item.id)


def _merge(found: list[_Found]) -> Iterator[_Found]:
    """Keep the first name of each object, and of each docstring repeated under one name.

    Names come with the fewest dots first, and in the order of MODULES and CLASSES after
    that.  The second rule drops what a class repeats from its base or its twin, such as
    ``bytearray.find`` after ``bytes.find``.
    """
    objects: set[int] = set()
    docs: set[tuple[str, str, str]] = set()
    for each in found:
        same_doc = (each.module, each.id.rpartition(".")[2], each.doc)
        if id(each.obj) in objects or same_doc in docs:
            continue
        objects.add(id(each.obj))
        docs.add(same_doc)
        yield each


def _find_all() -> Iterator[_Found]:
    """Yield every documented public object under every name it is reached by."""
    for name in MODULES:
        module = _import(name)
        if module is not None:
            yield from _find_in_module(name, module)
    for name in CLASSES:
        cls = _resolve(name)
        if isinstance(cls, type):
            yield from _find_in_class(name, cls)


def _import(name: str) -> types.ModuleType | None:
    """Import a module, or return None where this Python cannot."""
    try:
        return importlib.import_module(name)
    except Exception:  # an optional module may fail in its own way, not only to import
        return None


def _resolve(name: str) -> Any:
    """Return the object of a dotted (or builtin) name, or None."""
    module, _, attribute = name.rpartition(".")
    return getattr(_import(module or "builtins"), attribute, None)


def _find_in_module(name: str, module: types.ModuleType) -> Iterator[_Found]:
    """Yield the module itself, then its documented public classes and functions."""
    doc = _doc(module)
    if doc:
        yield _Found(name, module, doc, "module", name)
    prefix = "" if name == "builtins" else name + "."
    for attribute in _public_names(name, module):
        obj = getattr(module, attribute, None)
        kind, doc = _kind(obj), _doc(obj)
        if kind and doc and not _is_generated(attribute, doc):
            yield _Found(prefix + attribute, obj, doc, kind, name)


def _public_names(name: str, module: types.ModuleType) -> list[str]:
    """Return ``__all__``, or what the module defines itself where it declares nothing."""
    declared = getattr(module, "__all__", None)
    if name == "builtins":
        declared = dir(module)
    elif declared is None:
        declared = [each for each in dir(module) if _is_own(name, getattr(module, each, None))]
    public = {each for each in declared if not each.startswith("_")}
    return sorted(public, key=lambda each: (len(each), each))


def _is_own(name: str, obj: Any) -> bool:
    """Tell whether an object was defined by the module or by its C accelerator."""
    home = getattr(obj, "__module__", None) or name
    return home in {name, "_" + name, "nt", "posix", "builtins"} or home.startswith(name + ".")


def _kind(obj: Any) -> str:
    """Return the kind of a module's member, or an empty string for data."""
    if isinstance(obj, type) or type(obj).__module__ == "typing":
        return "class"
    return "function" if callable(obj) else ""


def _find_in_class(name: str, cls: type) -> Iterator[_Found]:
    """Yield the documented public methods and properties, the inherited ones included."""
    module = name.rpartition(".")[0] or "builtins"
    for attribute in dir(cls):
        obj = inspect.getattr_static(cls, attribute, None)
        if attribute.startswith("_") or not isinstance(obj, _MEMBERS):
            continue
        doc = _doc(obj)
        if doc:
            yield _Found(f"{name}.{attribute}", obj, doc, "method", module)


def _doc(obj: Any) -> str:
    """Return an object's own cleaned docstring, or an empty string.

    A docstring that an instance merely has from its type says nothing about it.
    """
    doc = getattr(obj, "__doc__", None)
    if not isinstance(doc, str) or (doc == type(obj).__doc__ and obj is not type):
        return ""
    doc = inspect.cleandoc(doc).strip()
    return doc if len(doc) >= MIN_DOC and doc not in _EMPTY_DOCS else ""


def _is_generated(attribute: str, doc: str) -> bool:
    """Tell whether a docstring is only what a named tuple, a node or an alias is given."""
    if doc.startswith("A generic version of "):
        return True
    first_line = doc.partition("\n")[0]
    named = doc.startswith(attribute + "(") and first_line.endswith(")")
    return named and "->" not in first_line and "\n\n" not in doc


def _item(found: _Found) -> Item:
    """Build the item of one object: name and signature on the first line, then the text."""
    signature = _signature(found.obj) if found.kind != "module" else ""
    text = _cut(f"{found.id}{signature}\n\n{found.doc}")
    return Item(found.id, found.id, text, found.kind, found.module)


def _signature(obj: Any) -> str:
    """Return the signature without addresses and paths, or an empty string."""
    if isinstance(obj, (classmethod, staticmethod)):
        obj = obj.__func__
    try:
        signature = _LIVE_LIST.sub("=[]", _ADDRESS.sub("...", str(inspect.signature(obj))))
        signature = signature.replace(repr(sys.executable), "sys.executable")
    except Exception:  # C functions have none, and annotations may fail to evaluate
        return ""
    return "" if signature in _EMPTY_SIGNATURES or len(signature) > 300 else signature


def _cut(text: str) -> str:
    """Shorten a text to about MAX_TEXT characters, at the end of a sentence or a line."""
    if len(text) <= MAX_TEXT:
        return text
    head = text[:MAX_TEXT]
    end = max(head.rfind(". ") + 1, head.rfind(".\n") + 1, head.rfind("\n"))
    return (head[:end] if end > MAX_TEXT // 2 else head.rpartition(" ")[0]).rstrip()
