"""Secrets: keys are kept as keyed hashes, credentials sealed. Both hang on the master key, which never lies beside
what it protects: it comes from the environment or from a file outside the data directory.
"""

import base64
import binascii
import hmac
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from farebox.errors import SecretsError
from farebox.settings import Settings

KEY_PREFIX: Final = "fbx_"
TOKEN_PREFIX: Final = "fba_"  # noqa: S105 (a public prefix)
MASTER_KEY_BYTES: Final = 32
VARIABLE: Final = "FAREBOX_MASTER_KEY"
_NONCE_BYTES: Final = 12
_SEAL_VERSION: Final = b"\x01"


class Vault:
    """Hashes keys and seals credentials under keys derived (HKDF-SHA256) from the master key. Safe to share."""

    def __init__(self, master: bytes) -> None:
        if len(master) != MASTER_KEY_BYTES:
            raise SecretsError(f"a master key is {MASTER_KEY_BYTES} bytes, this one has {len(master)}")
        self._hash_key = _derived(master, b"farebox 1 key hash")
        self._sign_key = _derived(master, b"farebox 1 portal")
        self._cipher = AESGCM(_derived(master, b"farebox 1 seal"))
        self.check_value: Final = _derived(master, b"farebox 1 check")[:16]
        """Tells this master key from another without saying anything of it."""

    @classmethod
    def load(cls, settings: Settings, env: Mapping[str, str] | None = None) -> "Vault":
        """The vault of FAREBOX_MASTER_KEY, else of the master key file, which is made (0600) if missing.

        Raises SecretsError for a key that is none, a file that others can read, or one inside the data directory.
        """
        text = (os.environ if env is None else env).get(VARIABLE, "")
        if text:
            return cls(_decoded(text, VARIABLE))
        path = master_key_path(settings)
        if path.resolve().is_relative_to(settings.data.resolve()):
            raise SecretsError(
                f"the master key {path} lies inside the data directory, where a copied backup would carry it along: "
                "set secrets.master_key_file to a place outside"
            )
        return cls(_decoded(_read_or_make(path), str(path)))

    def key_hash(self, raw: str) -> bytes:
        """HMAC-SHA-256 (32 bytes) of a whole key or token: what is stored and looked up."""
        return hmac.digest(self._hash_key, raw.encode(), "sha256")

    def signature(self, text: str) -> bytes:
        """HMAC-SHA-256 (32 bytes) of what a link says. Compare it in constant time."""
        return hmac.digest(self._sign_key, text.encode(), "sha256")

    def seal(self, secret: str, context: str) -> bytes:
        """Encrypt (AES-256-GCM) so that it opens only with the same context, such as 'provider/openai'."""
        nonce = os.urandom(_NONCE_BYTES)
        return _SEAL_VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), context.encode())

    def open(self, sealed: bytes, context: str) -> str:
        """Raises SecretsError if it was sealed under another master key, in another context, or was changed."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            if sealed[:1] != _SEAL_VERSION:
                raise InvalidTag
            return self._cipher.decrypt(nonce, rest, context.encode()).decode()
        except (InvalidTag, ValueError):
            raise SecretsError(
                f"the stored credential of {context} cannot be opened with this master key: set it again"
            ) from None


def new_secret(prefix: str) -> str:
    """A fresh key or token: the prefix and 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


def new_id(prefix: str) -> str:
    """A fresh public id such as 'key_5f0c…' (64 random bits)."""
    return prefix + secrets.token_hex(8)


def master_key_path(settings: Settings) -> Path:
    """Where the master key's file is, or would be made."""
    if settings.secrets.master_key_file:
        return Path(settings.secrets.master_key_file)
    try:
        return Path("~/.config/farebox/master.key").expanduser()
    except RuntimeError:
        raise SecretsError(f"there is no home directory for the master key: set {VARIABLE}") from None


def _derived(master: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose).derive(master)


def _decoded(text: str, where: str) -> bytes:
    """32 bytes from base64 (either alphabet, padding optional) or hex."""
    text = text.strip()
    try:
        if len(text) == 2 * MASTER_KEY_BYTES:
            return bytes.fromhex(text)
        padded = text.replace("-", "+").replace("_", "/").rstrip("=") + "="
        key = base64.b64decode(padded, validate=True) if len(text) in (43, 44) else b""
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise SecretsError(
            f"{where} does not hold a master key: it is 32 random bytes, as `openssl rand -base64 32` prints"
        )
    return key


def _read_or_make(path: Path) -> str:
    try:
        if not path.exists():
            _make(path)
        if (mode := path.stat().st_mode & 0o777) & 0o077:
            raise SecretsError(f"the master key {path} can be read by others (mode {mode:o}): run `chmod 600 {path}`")
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SecretsError(
            f"the master key {path} cannot be read or made ({error}): set secrets.master_key_file or {VARIABLE}"
        ) from error


def _make(path: Path) -> None:
    """Write a new key whole, or not at all: two processes that start at once end up with the same one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(MASTER_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        os.link(draft, path)
    except FileExistsError:
        pass  # the other one's key is the key
    finally:
        draft.unlink()
