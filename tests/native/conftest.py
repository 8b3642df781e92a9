"""Kernels in C++ are built where they are not there yet, for tests that compare them with torch's."""

import pytest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISPEC_NATIVE", "on")
