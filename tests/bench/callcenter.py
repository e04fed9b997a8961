"""FreeSWITCH's own queue as a lab server: same release, modules, accounts and music, mod_callcenter in the dialplan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from dialplans.pack import load_pack
from dialplans.render import render
from dialplans.schema import Pop
from pbx.adapters.freeswitch.phones import dial_string, document
from pbx.ports.media_engine import PhoneAccount
from tests.bench.queued import RING_TIMEOUT_S, WRAP_UP_S
from tests.lab.errors import LabError
from tests.lab.freeswitch import FreeSwitchServer
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.media_server import MediaServer

QUEUE = "bench@callplane"

DIALPLAN = f"""<include>
  <context name="from-trunk">
    <extension name="queue">
      <condition>
        <action application="callcenter" data="{QUEUE}"/>
        <action application="hangup"/>
      </condition>
    </extension>
  </context>
</include>
"""

BRIDGE = """<include>
  <context name="from-trunk">
    <extension name="bridge">
      <condition field="caller_id_number" expression="(\\d{{{digits}}})$">
        <action application="answer"/>
        <action application="set" data="hangup_after_bridge=true"/>
        <action application="bridge" data="[leg_timeout={ring_s}]{agent}"/>
      </condition>
    </extension>
  </context>
</include>
"""

CALLCENTER = """<include>
  <configuration name="callcenter.conf">
    <settings/>
    <queues>
      <queue name="{queue}">
        <param name="strategy" value="longest-idle-agent"/>
        <param name="moh-sound" value="local_stream://default"/>
        <param name="time-base-score" value="system"/>
        <param name="tier-rules-apply" value="false"/>
        <param name="max-wait-time" value="0"/>
        <param name="max-wait-time-with-no-agent" value="0"/>
      </queue>
    </queues>
    <agents>
{agents}
    </agents>
    <tiers>
{tiers}
    </tiers>
  </configuration>
</include>
"""


def start(host: Host, lab: Lab, settings: Pop, phones: Iterable[PhoneAccount]) -> FreeSwitchServer:
    """A server whose queue has the phones as agents. Its databases are in memory, as ours are; nobody connects to its
    event socket but the lab."""
    phones = list(phones)
    files = _files(settings, phones)
    files["dialplan.xml"] = DIALPLAN
    files["switch.xml"] = _replaced(files["switch.xml"], r"(?=</modules>)", '<load module="mod_callcenter"/>')
    files["freeswitch.xml"] = _replaced(
        files["freeswitch.xml"],
        '(?=<X-PRE-PROCESS cmd="include" data="sofia.xml"/>)',
        '<X-PRE-PROCESS cmd="include" data="callcenter.xml"/>\n',  # one to a line
    )
    agents = "\n".join(
        f'<agent name="{phone.phone_id}" type="callback" status="Available" max-no-answer="0" '
        f'contact="[leg_timeout={RING_TIMEOUT_S}]{dial_string(phone.phone_id)}" wrap-up-time="{WRAP_UP_S}"/>'
        for phone in phones
    )
    tiers = "\n".join(f'<tier agent="{phone.phone_id}" queue="{QUEUE}"/>' for phone in phones)
    files["callcenter.xml"] = CALLCENTER.format(queue=QUEUE, agents=agents, tiers=tiers)
    return FreeSwitchServer(host, {name: text.encode() for name, text in files.items()}, lab)


def start_bare(host: Host, lab: Lab, settings: Pop, phones: Iterable[PhoneAccount]) -> FreeSwitchServer:
    """The least that any queue costs there: answered and bridged by the dialplan, the agent named by the last digits of
    the caller's number. No queue, no music, no events to anybody."""
    phones = list(phones)
    digits = len(str(len(phones) - 1))
    files = _files(settings, phones)
    agent = dial_string("PHONE").replace("PHONE", phones[0].phone_id[:-digits] + "$1")
    files["dialplan.xml"] = BRIDGE.format(digits=digits, ring_s=RING_TIMEOUT_S, agent=agent)
    return FreeSwitchServer(host, {name: text.encode() for name, text in files.items()}, lab)


def _files(settings: Pop, phones: Iterable[PhoneAccount]) -> dict[str, str]:
    """Ours, with the phones, without a dialplan that hands legs to a controller."""
    directory = Path(settings.phone_dir)
    directory.mkdir(exist_ok=True)
    for phone in phones:
        (directory / f"{phone.phone_id}.xml").write_bytes(document(phone, ping=True))
    files = {name: content.decode() for name, content in render(load_pack(settings.country), settings).items()}
    # Ours keeps a leg when the other side leaves; here the dialplan goes on.
    files["directory.xml"] = _replaced(files["directory.xml"], r'<variable name="park_after_bridge" value="true"/>', "")
    return files


def _replaced(text: str, pattern: str, by: str) -> str:
    changed, count = re.subn(pattern, by, text)
    if not count:
        raise LabError(f"the rendered configuration has no {pattern}")
    return changed


def sessions(server: MediaServer) -> int:
    """How many channels a FreeSWITCH has had since its start."""
    if not isinstance(server, FreeSwitchServer):
        raise LabError("the server is no FreeSWITCH")
    found = re.search(r"^(\d+) session\(s\) since startup", server.cli("status"), re.M)
    if found is None:
        raise LabError("FreeSWITCH does not say how many sessions it has had")
    return int(found[1])
