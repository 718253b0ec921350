"""Settings: where they come from, what follows from what, and how faults are told."""

import ipaddress
import re
from pathlib import Path

import pytest

from opencodehub import settings
from opencodehub.settings import ConfigurationError


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in settings.Settings.model_fields:
        monkeypatch.delenv(f"OCH_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def faults(**flags: object) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings.load(flags)
    return sorted(caught.value.faults)


def test_everything_follows_from_the_data_directory(tmp_path: Path) -> None:
    loaded = settings.load()
    data = tmp_path / "data"
    assert loaded.data_dir == data
    assert loaded.database_url.get_secret_value() == f"sqlite:///{data}/opencodehub.db"
    assert loaded.storage_url == f"file://{data}/storage"
    assert loaded.cache_dir == data / "cache"
    assert loaded.redis_url.get_secret_value() == f"unix://{data}/run/redis.sock"
    assert loaded.has_own_redis
    assert (loaded.web_url, loaded.ssh_clone_host, loaded.ssh_public_port) == (
        "http://127.0.0.1:8000",
        "127.0.0.1",
        2222,
    )


def test_public_addresses_follow_from_where_the_servers_listen() -> None:
    loaded = settings.load({"host": "0.0.0.0", "port": "9000", "ssh_port": "9022"})
    assert loaded.web_url == "http://127.0.0.1:9000"
    assert loaded.ssh_public_port == 9022


def test_what_is_set_is_not_derived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCH_BASE_URL", "https://hub.example.org/")
    monkeypatch.setenv("OCH_SSH_PUBLIC_PORT", "22")
    monkeypatch.setenv("OCH_REDIS_URL", "rediss://redis.example.org")
    loaded = settings.load({"port": 9000})
    assert loaded.web_url == "https://hub.example.org"
    assert loaded.ssh_clone_host == "hub.example.org"
    assert loaded.ssh_public_port == 22
    assert not loaded.has_own_redis


def test_flags_override_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCH_PORT", "8001")
    assert settings.load({"port": None}).port == 8001
    assert settings.load({"port": "8002"}).port == 8002


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCH_PORT", "")
    assert settings.load().port == 8000


def test_all_faults_are_told_together(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "OCH_SSH_PORT": "99999",
        "OCH_SECRET_KEY": "too short",
        "OCH_DATABASE_URL": "oracle://scott:tiger@db/x",
        "OCH_REDIS_URL": "http://redis",
        "OCH_STORAGE_URL": "ftp://files",
        "OCH_TRUSTED_PROXIES": "10.0.0.0/8, intranet",
        "OCH_BASE_URL": "hub",
        "OCH_LOG_LEVEL": "loud",
        "OCH_SIGN_UPS_ENABLED": "perhaps",
        "OCH_TLS_CERT": "/does/not/exist",
    }.items():
        monkeypatch.setenv(name, value)
    assert faults(port="http", host="127.0.0.1") == [
        "--port: must be a whole number (it is 'http')",
        "OCH_BASE_URL: must be an address such as https://hub.example.org (it is 'hub')",
        "OCH_DATABASE_URL: must begin with sqlite:///, postgresql://, mysql:// or mariadb://; "
        "'oracle' is not supported",
        "OCH_LOG_LEVEL: must be one of 'debug', 'info', 'warning' or 'error' (it is 'loud')",
        "OCH_REDIS_URL: must begin with redis://, rediss:// (TLS) or unix:// (a socket's path)",
        "OCH_SECRET_KEY: must have at least 32 characters",
        "OCH_SIGN_UPS_ENABLED: must be true or false (it is 'perhaps')",
        "OCH_SSH_PORT: must be at most 65535 (it is '99999')",
        "OCH_STORAGE_URL: the storage URL's scheme 'ftp' is unknown; supported are "
        "file:///absolute/path, memory://",
        "OCH_TLS_CERT: /does/not/exist does not exist or cannot be read",
        "OCH_TRUSTED_PROXIES: 'intranet' is not a network; "
        "write addresses such as 10.0.0.0/8 or ::1",
    ]


@pytest.mark.parametrize("url", ["https://hub/code", "https://ann:pw@hub", "https://hub/?a=b"])
def test_the_hub_lives_at_the_root(url: str) -> None:
    assert faults(base_url=url) == [
        "--base-url: must be scheme, host and port alone: the hub lives at the root"
    ]


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"^\| `(OCH_[A-Z_]+)`", page, re.MULTILINE))
    assert documented == {f"OCH_{name.upper()}" for name in settings.Settings.model_fields}


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    assert faults(tls_cert=str(certificate)) == [
        "OCH_TLS_KEY: the certificate and its key go together; set both or neither"
    ]


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert faults(data_dir=f"{tmp_path}/file/data") == [
        f"--data-dir: {tmp_path}/file/data cannot be made: Not a directory"
    ]


def test_proxies_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCH_TRUSTED_PROXIES", "10.0.0.0/8, ::1,")
    assert settings.load().trusted_proxies == (
        ipaddress.ip_network("10.0.0.0/8"),
        ipaddress.ip_network("::1"),
    )


def test_misspelt_variables_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCH_TRUSTED_PROXY", "10.0.0.0/8")
    monkeypatch.setenv("OCH_QQQQ", "1")
    monkeypatch.setenv("OCH_TEST_DATABASES", "sqlite")
    assert settings.unknown_variables() == [
        "OCH_QQQQ is not a setting",
        "OCH_TRUSTED_PROXY is not a setting; did you mean OCH_TRUSTED_PROXIES?",
    ]


def test_children_see_what_the_flags_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    flags = {"port": "9000", "data_dir": "elsewhere", "host": None}
    environment = settings.environment_for(settings.load(flags), flags)
    assert environment["OCH_PORT"] == "9000"
    assert environment["OCH_DATA_DIR"] == str(tmp_path / "elsewhere")
    assert "OCH_HOST" not in environment


def test_secrets_do_not_show() -> None:
    loaded = settings.load({"database_url": "postgresql://och:swordfish@db/och"})
    assert "swordfish" not in repr(loaded)
    assert loaded.secret_key.get_secret_value() not in repr(loaded)
