"""Properties without a service: its threads draw random numbers while examples are made."""

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st

from api.access import PREFIX, digest, key_id_of, new_key, same
from api.callbacks import allowed


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_its_ipv6_form(ip: ipaddress.IPv4Address) -> None:
    assert allowed(ipaddress.ip_address(f"::ffff:{ip}")) == allowed(ip)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_no_text_but_the_key_is_the_key(text: str) -> None:
    made = new_key()
    assert same(made.text, made.sha256)
    assert same(text, made.sha256) == (text == made.text)
    assert key_id_of(made.text) == made.id
    assert key_id_of(text) is None or text.startswith(f"{PREFIX}_")
    assert digest(made.text) == made.sha256
