"""A few lines of FreeSWITCH configuration for the lab's own tests. The product's is rendered by `dialplans`."""

from tests.lab.host import Host

PASSWORD = "lab-password"
MODULES = ("logfile", "event_socket", "commands", "dptools", "dialplan_xml", "tone_stream", "sofia")


def files(host: Host, modules: tuple[str, ...] = MODULES) -> dict[str, bytes]:
    """One SIP profile that takes calls from everywhere: `echo` is answered, all else is refused."""
    loaded = "".join(f'<load module="mod_{module}"/>' for module in modules)
    text = f"""<document type="freeswitch/xml">
<section name="configuration">
  <configuration name="switch.conf"><settings>
    <param name="sessions-per-second" value="1000"/>
    <param name="core-db-dsn" value="sqlite://memory://file:core?mode=memory&amp;cache=shared"/>
  </settings></configuration>
  <configuration name="modules.conf"><modules>{loaded}</modules></configuration>
  <configuration name="logfile.conf"><profiles><profile name="default">
    <mappings><map name="all" value="warning,err,crit,alert"/></mappings>
  </profile></profiles></configuration>
  <configuration name="event_socket.conf"><settings>
    <param name="listen-ip" value="127.0.0.1"/>
    <param name="listen-port" value="8021"/>
    <param name="password" value="{PASSWORD}"/>
  </settings></configuration>
  <configuration name="sofia.conf"><profiles><profile name="lab"><settings>
    <param name="sip-ip" value="{host.address}"/>
    <param name="rtp-ip" value="{host.address}"/>
    <param name="sip-port" value="5060"/>
    <param name="context" value="calls"/>
    <param name="inbound-codec-prefs" value="PCMA"/>
    <param name="auth-calls" value="false"/>
  </settings></profile></profiles></configuration>
</section>
<section name="dialplan"><context name="calls"><extension name="echo">
  <condition field="destination_number" expression="^echo$">
    <action application="answer"/>
    <action application="echo"/>
  </condition>
</extension></context></section>
</document>
"""
    return {"freeswitch.xml": text.encode()}
