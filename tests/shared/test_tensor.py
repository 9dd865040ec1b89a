"""Names of tensors: content addresses, and names for once."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scumble_shared.tensor import digest_of, is_digest, is_one_off

NONCE = "0123456789abcdef" * 2


def test_an_address_is_of_dtype_shape_and_content():
    ramp = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert digest_of(ramp) == hashlib.sha256(b"uint16:2,3:" + ramp.astype("<u2").tobytes()).hexdigest()
    assert digest_of(ramp.T.copy().T) == digest_of(ramp)
    assert digest_of(ramp.reshape(3, 2)) != digest_of(ramp)


@given(st.integers(0, 10**18 - 1))
def test_one_off_names_are_names_and_no_addresses(number):
    assert is_one_off(f"once:{NONCE}:{number}")
    assert is_digest(f"once:{NONCE}:{number}")


@pytest.mark.parametrize(
    "name",
    [
        *("", "once:", f"once:{NONCE}", f"once:{NONCE}:", f"once:{NONCE}:1 ", f"once:{NONCE}:1\n"),
        *(
            f"once:{NONCE[1:]}:1",
            f"once:{NONCE}:{10**18}",
            f"once:{NONCE.upper()}:1",
            f"twice:{NONCE}:1",
            f"once:{NONCE}:-1",
        ),
    ],
)
def test_what_is_neither(name):
    assert not is_one_off(name)
    assert not is_digest(name)


def test_an_address_is_no_name_for_once():
    address = digest_of(np.zeros(1, np.uint8))
    assert is_digest(address)
    assert not is_one_off(address)
