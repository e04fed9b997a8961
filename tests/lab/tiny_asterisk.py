"""A few lines of Asterisk configuration for the lab's own tests. The product's is rendered by `dialplans`."""

from tests.lab.host import Host

EXTENSIONS = """
[phones]
exten => echo,1,Answer()
 same => n,Echo()
exten => hold,1,Answer()
 same => n,Wait(60)
exten => digits,1,Answer()
 same => n,Read(GOT,,4,,1,20)
 same => n,Set(GLOBAL(DIGITS)=${GOT})
 same => n,Wait(60)
exten => _[a-z]!,1,Dial(PJSIP/${EXTEN},30)
exten => _+X!,1,Set(GLOBAL(CALLER)=${CALLERID(num)})
 same => n,Answer()
 same => n,Echo()
"""


def files(host: Host, users: dict[str, str], carrier: str | None = None) -> dict[str, bytes]:
    """Configuration with one endpoint for each user (name -> password) and one for a carrier's address."""
    sip = f"[udp]\ntype=transport\nprotocol=udp\nbind={host.address}:5060\n"
    for name, password in users.items():
        sip += f"""
[{name}]
type=endpoint
context=phones
disallow=all
allow=alaw,ulaw
auth={name}
aors={name}
direct_media=no
[{name}]
type=auth
auth_type=userpass
username={name}
password={password}
[{name}]
type=aor
max_contacts=1
remove_existing=yes
"""
    if carrier is not None:
        sip += f"""
[carrier]
type=endpoint
context=phones
disallow=all
allow=alaw,ulaw
direct_media=no
[carrier]
type=identify
endpoint=carrier
match={carrier}
"""
    return {
        "pjsip.conf": sip.encode(),
        "extensions.conf": EXTENSIONS.encode(),
        "modules.conf": b"[modules]\nautoload=yes\nnoload=chan_iax2.so\nnoload=cdr_csv.so\n",
        "rtp.conf": b"[general]\nrtpstart=10000\nrtpend=30000\n",
    }
