"""Packages of Debian, in two ways.

`install` is plain `apt-get install` on the machine. `fetch` gets packages of a suite that the
machine does not use (backports) without touching its configuration: apt runs with a private state
in build/apt, and a private source with the machine's own mirror address and keyring.
"""

import os
import pathlib
import shutil
import subprocess
import sys

from common import BUILD, die, say

APT = BUILD / "apt"
LOG = BUILD / "setup.log"
KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NETWORK_LIMIT_S = 600


def release():
    """The fields of /etc/os-release, {} where there is none."""
    try:
        lines = pathlib.Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key: value.strip().strip('"') for key, value in pairs}


def is_debian(codename=None):
    """Whether this is Debian proper (of that code name, if one is given)."""
    fields = release()
    return (fields.get("ID") == "debian" and shutil.which("apt-get") is not None
            and codename in (None, fields.get("VERSION_CODENAME")))


def _logged(command, limit_s=NETWORK_LIMIT_S, **options):
    """Runs a command with its output in the log; returns whether it succeeded."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with open(LOG, "ab") as log:
        log.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        log.flush()
        try:
            return subprocess.run(command, stdin=options.pop("stdin", subprocess.DEVNULL), stdout=log,
                                  stderr=log, timeout=limit_s, **options).returncode == 0
        except (OSError, subprocess.TimeoutExpired) as error:
            log.write(f"{error}\n".encode())
            return False


def _last_error():
    """The last complaint of apt in the log, for the one-line message."""
    lines = LOG.read_text(errors="replace").splitlines()
    wrong = [line for line in lines if line.startswith(("E:", "dpkg", "sudo"))]
    return wrong[-1] if wrong else f"see {LOG}"


# --- the machine's own apt -----------------------------------------------------------

def install(packages, why):
    """Installs packages with apt-get, as root or through sudo."""
    if not is_debian() and shutil.which("apt-get") is None:
        die(f"missing for {why}: {' '.join(packages)} (as Debian calls them); install them with this system's "
            "package manager and run this again.")
    command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "--no-install-recommends", *packages]
    if os.geteuid() != 0:
        if shutil.which("sudo") is None:
            die(f"missing for {why}: run as root: apt-get install {' '.join(packages)}")
        # Without a terminal no password can be typed: fail rather than wait.
        command = ["sudo"] + ([] if sys.stdin.isatty() else ["-n"]) + ["DEBIAN_FRONTEND=noninteractive"] + command
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    stdin = None if sys.stdin and sys.stdin.isatty() else subprocess.DEVNULL
    say(f"setup: installing {' '.join(packages)} with apt-get ({why})")
    if _logged(command, env=environment, stdin=stdin):
        return
    # A fresh machine may have no package lists, or old ones.
    say("setup: refreshing the package lists (apt-get update)")
    at = command.index("apt-get")
    _logged(command[:at] + ["apt-get", "update"], env=environment, stdin=stdin)
    if not _logged(command, env=environment, stdin=stdin):
        die(f"could not install {' '.join(packages)}: {_last_error()}")


# --- a private apt for suites that the machine does not use -------------------------

def _one_line_sources(text):
    """(uris, suites, options) of the `deb` lines of a sources.list."""
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words or words[0] != "deb":
            continue
        options = {}
        if len(words) > 1 and words[1].startswith("["):
            end = next((i for i, word in enumerate(words) if word.endswith("]")), 1)
            inside = " ".join(words[1:end + 1]).strip("[] ").split()
            options = dict(word.split("=", 1) for word in inside if "=" in word)
            words = words[:1] + words[end + 1:]
        if len(words) >= 4 and "main" in words[3:]:
            yield [words[1]], [words[2]], {key.lower(): value for key, value in options.items()}


def _deb822_sources(text):
    """(uris, suites, options) of the stanzas of a .sources file."""
    for stanza in text.replace("\r", "").split("\n\n"):
        fields, key = {}, None
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace() and key:
                fields[key] += "\n" + line.strip()
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.lower()
                fields[key] = value.strip()
        if ("deb" in fields.get("types", "").split() and "main" in fields.get("components", "").split()
                and fields.get("enabled", "yes").lower() not in ("no", "false", "0")):
            yield fields.get("uris", "").split(), fields.get("suites", "").split(), fields


def machine_source():
    """The mirror of Debian's main archive and the trust options that this machine uses for it."""
    codename = release().get("VERSION_CODENAME", "")
    folder = pathlib.Path("/etc/apt")
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for suite in (codename, "stable", "oldstable", f"{codename}-updates"):
        for path in files:
            parse = {".list": _one_line_sources, ".sources": _deb822_sources}.get(path.suffix)
            if parse is None or not path.is_file():
                continue
            for uris, suites, options in parse(path.read_text(errors="replace")):
                if suite in suites and uris and not uris[0].startswith("cdrom"):
                    return uris[0], options
    return None


def _private_source(suite):
    """A one-line source for a suite, from the machine's mirror and keyring."""
    found = machine_source()
    if found is None:
        die("no mirror of Debian's main archive in /etc/apt: add one, or install what is missing by hand.")
    uri, options = found
    trust = options.get("signed-by", "")
    if KEYRING.exists():
        trust = str(KEYRING)
    words = [f"signed-by={trust}"] if trust.startswith("/") else []
    if options.get("trusted", "").lower() == "yes":
        words.append("trusted=yes")
    return f"deb {'[' + ' '.join(words) + '] ' if words else ''}{uri} {suite} main\n"


def _private_folder(suite, architecture):
    """Where the state is of one suite, for the machine's architecture or another one."""
    return APT / (f"{suite}-{architecture}" if architecture else suite)


def _private_options(suite, architecture=None):
    """The options that give apt its own state for one suite; they name no file of the machine's."""
    base = _private_folder(suite, architecture)
    for part in ("lists/partial", "cache/archives/partial"):
        (base / part).mkdir(parents=True, exist_ok=True)
    source = base / "sources.list"
    source.write_text(_private_source(suite))
    settings = {
        "Dir::Etc::SourceList": source, "Dir::Etc::SourceParts": "/dev/null", "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null", "Dir::State::Lists": base / "lists", "Dir::Cache": base / "cache",
        "APT::Get::List-Cleanup": "0", "Acquire::Languages": "none", "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30", "Acquire::https::Timeout": "30",
    }
    if os.geteuid() == 0:
        # The unprivileged downloader may not write into this tree.
        settings["APT::Sandbox::User"] = "root"
    if architecture:
        settings["APT::Architecture"] = settings["APT::Architectures"] = architecture
    return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _refreshed(suite, architecture):
    """Whether the private lists of a suite are there and new; a line says why not."""
    if _logged(["apt-get", *_private_options(suite, architecture), "update"]):
        return True
    say(f"setup: cannot read Debian's {suite} package list: {_last_error()}")
    return False


def _asked(suite, architecture, *question):
    """The lines of an answer of apt-cache about a suite."""
    return subprocess.run(["apt-cache", *_private_options(suite, architecture), *question], capture_output=True, text=True,
                          timeout=60).stdout.splitlines()


def names(suite, prefix, architecture=None):
    """The packages of a suite whose names begin with `prefix`; refreshes the private lists."""
    return _asked(suite, architecture, "pkgnames", prefix) if _refreshed(suite, architecture) else []


def versions(suite, package, architecture=None):
    """The versions of a package that a suite offers, newest first; refreshes the private lists.

    Without the suite's package list there are none, and a line says why.
    """
    listed = _asked(suite, architecture, "madison", package) if _refreshed(suite, architecture) else []
    rows = [line.split("|") for line in listed]
    return [row[1].strip() for row in rows if len(row) >= 3]


def try_fetch(suite, package, version, into, architecture=None):
    """Downloads one package of one version and unpacks it into a folder (no installation); returns whether it could."""
    base = _private_folder(suite, architecture)
    options = _private_options(suite, architecture)
    for old in base.glob(f"{package}_*.deb"):
        old.unlink()
    say(f"setup: downloading {package} {version} from {suite}")
    if not _logged(["apt-get", *options, "download", f"{package}={version}"], cwd=base):
        return False
    archive = next(base.glob(f"{package}_*.deb"))
    into.mkdir(parents=True, exist_ok=True)
    if not _logged(["dpkg", "-x", str(archive), str(into)]):
        die(f"could not unpack {archive.name}: {_last_error()}")
    archive.unlink()
    return True


def fetch(suite, package, version, into):
    """As try_fetch, but ends with a message if the package cannot be downloaded."""
    if not try_fetch(suite, package, version, into):
        die(f"could not download {package} {version}: {_last_error()}")
