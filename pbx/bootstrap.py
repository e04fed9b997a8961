"""The one place where a POP's parts are put together. Nothing is built at import."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from dialplans import calling, days_off, endpoints, freeswitch, numbering, pack, prompts, uploads
from dialplans import dialling as outside_numbers
from dialplans.regimes import regimes_by_place, states_by_prefix
from dialplans.render import ALONE_LOG
from dialplans.tones import call_tones
from pbx.adapters.asterisk.engine import AsteriskEngine
from pbx.adapters.asterisk.phones import PhoneSettings
from pbx.adapters.freeswitch.engine import FreeSwitchEngine
from pbx.adapters.hidden.files import HiddenFiles
from pbx.adapters.http.lookups import HttpLookups
from pbx.adapters.journal import lineage
from pbx.adapters.journal.copy import JournalCopy
from pbx.adapters.journal.sqlite import SqliteJournal
from pbx.adapters.link.nats import NatsLink
from pbx.adapters.pair.active import Active
from pbx.adapters.pair.standby import Standby
from pbx.adapters.vault.key_store import KeyStore
from pbx.adapters.vault.pair import PairedRecordings
from pbx.adapters.vault.s3 import S3Blobs, Storage
from pbx.adapters.vault.sealed import SealedVault
from pbx.config import PopSettings, VaultSettings
from pbx.controller import call_spans
from pbx.controller.call_traces import CallTraces
from pbx.controller.config_store import ConfigStore
from pbx.controller.parking_lot import ParkingLot
from pbx.controller.pop import Pop
from pbx.controller.prompt_shelf import PromptShelf
from pbx.controller.steady_clock import SteadyClock
from pbx.controller.watch import PopWatch
from pbx.controller.witnesses import Witnesses
from pbx.domain.calling_hours import CallingHours
from pbx.domain.consent import RegimeTable, regime_of
from pbx.domain.dialling import Dialling, Outbound, OutsideNumber
from pbx.domain.e164 import E164
from pbx.domain.errors import BadValue
from pbx.domain.ids import PopId, QueueId
from pbx.domain.opening_hours import Interval
from pbx.domain.pseudonyms import Pseudonyms
from pbx.ports.link import Link
from pbx.ports.media_engine import MediaEngine
from pbx.recording import region_keys
from pbx.recording.recorder import Recorder
from pbx.recording.region_keys import KeyFile
from pbx.wire.telemetry.lag import LoopLag
from pbx.wire.telemetry.logs import LogCounts
from pbx.wire.telemetry.server import WatchServer

if TYPE_CHECKING:
    from pbx.wire.telemetry.traces import Traces

JOURNAL, KEY_STORE, RECORDINGS = "journal.sqlite", "keys.sqlite", "recordings"
"""Below ``state_dir``."""


def prompt_index(directory: Path) -> dict[tuple[str, str], str]:
    """(prompt id, language) -> sha256 of every prompt in ``directory``. Raises BadValue when there are none."""
    try:
        manifest = prompts.load_manifest(directory)
    except (prompts.PromptError, OSError) as error:
        raise BadValue("prompt_dir", f"{error}; make them with: callplane prompts build {directory}") from error
    return {
        (name, language): file.sha256 for language, files in manifest.prompts.items() for name, file in files.items()
    }


def regimes() -> RegimeTable:
    """The regime of every place there is a rule for; any other place counts as the strictest that asks."""
    words = regimes_by_place()
    return RegimeTable({place: regime_of(words[place]) for place in words}, by_prefix=states_by_prefix())


def holidays_of(place: str) -> Container[date]:
    """The public holidays of a country or of a part of it. Raises BadValue when they are not known."""
    try:
        return days_off.public_holidays(place)
    except KeyError:
        raise BadValue("graph", f"no public holidays of {place} are known") from None


class PlannedNumbers:
    """Implements ``Numbers`` with the country packs and libphonenumber. ``usual``: the window (``HH:MM-HH:MM``) of
    countries that have no rule of their own."""

    def __init__(self, usual: str) -> None:
        self._usual = usual
        self._hours = lru_cache(4096)(self._hours_of)

    def callable(self, text: str, country: str) -> E164 | None:
        number = calling.callable_number(text, country)
        return None if number is None else E164(number)

    def country(self, number: E164) -> str | None:
        return numbering.country_of(number)

    def hours(self, number: E164) -> CallingHours:
        return self._hours(number)

    def _hours_of(self, number: E164) -> CallingHours:
        windows = calling.windows(number, self._usual)
        return CallingHours(
            zones=tuple(map(ZoneInfo, windows.zones)),
            weekly=tuple(tuple(map(_interval, day)) for day in windows.weekly),
            holiday=tuple(map(_interval, windows.holiday)),
            holidays=windows.holidays,
        )


def _interval(window: tuple[int, int]) -> Interval:
    return Interval(*window)


def dialling_of(country: pack.CountryPack, prefixes: Sequence[str] = (), trunk: str | None = None) -> Dialling:
    """How a POP of this country calls outside numbers; see ``dialplans.dialling``."""

    def number_of(text: str) -> OutsideNumber:
        try:
            found = outside_numbers.outside(text, country, prefixes=prefixes)
        except outside_numbers.MayNotDial as error:
            raise BadValue("number", error.reason) from None
        return OutsideNumber(E164(found.number), found.kind)

    return Dialling(number_of, trunk)


def outbound_of(
    shown: Mapping[str, str] = MappingProxyType({}), allowed: Sequence[str] = (), queue_id: str = ""
) -> Outbound:
    """How agents call outside numbers; see ``dialplans.dialling.placed``."""

    def number_of(text: str) -> OutsideNumber:
        try:
            found, prefix = outside_numbers.placed(text, allowed)
        except outside_numbers.MayNotDial as error:
            raise BadValue("number", error.reason) from None
        return OutsideNumber(E164(found.number), found.kind, prefix)

    def shown_to(number: E164) -> E164 | None:
        prefix = max((one for one in shown if number.startswith(one)), key=len, default=None)
        return None if prefix is None else E164(shown[prefix])

    def languages_of(number: E164) -> tuple[str, ...]:
        country = numbering.country_of(number)
        try:
            return () if country is None else pack.load_pack(country).languages
        except pack.PackError:
            return ()

    return Outbound(number_of, shown_to, numbering.country_of, languages_of, QueueId(queue_id))


def hides_numbers(setting: str, country: pack.CountryPack) -> bool:
    """Whether the centre is told keyed hashes: of a country whose law wants its data to stay, unless said otherwise."""
    return setting == "on" or (setting == "auto" and country.data_protection.residency.value == "strict_localisation")


def build_engine(settings: PopSettings, uploaded: Mapping[str, str] = MappingProxyType({})) -> MediaEngine:
    """The adapter of the POP's media server, not started. Raises BadValue naming the setting that is missing."""
    if settings.engine == "freeswitch":
        if settings.phone_dir is None or not settings.phone_dir.is_dir():
            raise BadValue("CALLPLANE_POP_PHONE_DIR", "is not a directory; it is needed for FreeSWITCH")
        return FreeSwitchEngine(
            esl_host=settings.esl_host,
            esl_port=settings.esl_port,
            esl_password=_needed(settings.esl_password, "ESL_PASSWORD", "FreeSWITCH"),
            prompt_dir=settings.prompt_dir,
            uploaded=uploaded,
            phone_dir=settings.phone_dir,
            country_of=numbering.country_of,
            qualify=settings.qualify_s > 0,
            tones=call_tones(pack.load_pack(settings.country)),
            alone_log=settings.recording_dir / ALONE_LOG,
            classes=freeswitch.usable(settings.phone_classes),
        )
    return AsteriskEngine(
        ari_host=settings.ari_host,
        ari_port=settings.ari_port,
        ari_user=settings.ari_user,
        ari_password=_needed(settings.ari_password, "ARI_PASSWORD", "Asterisk"),
        ami_host=settings.ami_host,
        ami_port=settings.ami_port,
        ami_user=settings.ami_user,
        ami_password=_needed(settings.ami_password, "AMI_PASSWORD", "Asterisk"),
        prompt_dir=settings.prompt_dir,
        uploaded=uploaded,
        country_of=numbering.country_of,
        phones=phone_settings(settings),
        tones=call_tones(pack.load_pack(settings.country)),
    )


def phone_settings(settings: PopSettings) -> PhoneSettings:
    """How the POP's Asterisk speaks to agents' phones."""
    country = pack.load_pack(settings.country)
    usable = endpoints.classes(settings.phone_classes)
    own = country.media.sip_timers
    return PhoneSettings(
        codecs=endpoints.law(country.media.offer_order),
        classes={name: one for name, one in usable.items() if settings.browsers or not one.webrtc},
        timers=own.model_copy(update=settings.sip_timers.model_dump(exclude_none=True)),
        qualify_s=settings.qualify_s,
        nat=settings.phones_behind_nat,
        encrypted=settings.phones_encrypted,
    )


def _needed(secret: SecretStr, setting: str, engine: str) -> str:
    if not secret.get_secret_value():
        raise BadValue(f"CALLPLANE_POP_{setting}", f"is needed for {engine}")
    return secret.get_secret_value()


def build_vault(settings: VaultSettings, store: KeyStore | None = None) -> SealedVault:
    """Raises BadValue naming the setting that cannot be used, OSError."""
    regions = frozenset(settings.regions)
    keys = KeyFile(settings.key_file, regions)
    storage = storage_of(settings)
    remote = {} if storage is None else {region: S3Blobs(storage, region) for region in regions}
    return SealedVault(settings.state_dir / RECORDINGS, regions, keys, store or open_key_store(settings), remote)


def storage_of(settings: VaultSettings) -> Storage | None:
    """The object storage that recordings are moved to. Raises BadValue naming the setting that is missing."""
    if not (url := settings.vault_s3_url):
        return None
    if url.startswith("http:") and not settings.vault_s3_allow_http:
        raise BadValue("CALLPLANE_POP_VAULT_S3_URL", "is not https, and CALLPLANE_POP_VAULT_S3_ALLOW_HTTP is false")
    return Storage(
        url,
        settings.vault_s3_bucket,
        settings.vault_s3_location,
        _needed(SecretStr(settings.vault_s3_access_key), "VAULT_S3_ACCESS_KEY", "object storage"),
        _needed(settings.vault_s3_secret_key, "VAULT_S3_SECRET_KEY", "object storage"),
        settings.vault_s3_allow_http,
        settings.vault_s3_timeout_s,
    )


def open_key_store(settings: VaultSettings) -> KeyStore:
    """Raises OSError."""
    return KeyStore(settings.state_dir / KEY_STORE)


def fresh_vault(directory: Path, regions: Collection[str]) -> SealedVault:
    """One on this disk, of which nobody knows the keys before: for simulated POPs, and again for the next controller of
    one."""
    key_file = directory / "vault.keys"
    if not key_file.exists():
        for region in regions:
            region_keys.add(key_file, region)
    keys = KeyFile(key_file, frozenset(regions))
    return SealedVault(directory / "vault", regions, keys, KeyStore(directory / KEY_STORE), {})


@dataclass(frozen=True, slots=True)
class Site:
    """A POP that has not been started, its link to the centre, if it has one, and what its monitoring asks."""

    pop: Pop
    link: Link | None
    watch: WatchServer | None
    lag: LoopLag
    standby: Active | None = None
    """To the other host of the POP, if it has one."""


def build_traces(settings: PopSettings) -> Traces | None:
    """Nothing of it is even imported where nobody wants traces."""
    if not settings.traces_url:
        return None
    from pbx.wire.telemetry.traces import Traces

    return Traces(settings.traces_url, "callplane-pop", settings.traces_ratio, **{"pop.id": settings.id})


def _witnesses(traces: Traces | None) -> Witnesses:
    if traces is None:
        return Witnesses()
    spans = call_spans.CallSpans(traces)
    return Witnesses(CallTraces(spans.send, spans.chosen), spans.command)


def build(settings: PopSettings, log_counts: LogCounts, traces: Traces | None = None) -> Site:
    """A POP that has not been started.

    Raises BadValue naming the setting that cannot be used.
    """
    country = pack.load_pack(settings.country)
    if not settings.recording_dir.is_dir():
        raise BadValue("CALLPLANE_POP_RECORDING_DIR", "is not a directory")
    if bool(settings.bus_url) != bool(settings.key.get_secret_value()):
        raise BadValue("CALLPLANE_POP_KEY", "goes together with CALLPLANE_POP_BUS_URL")
    try:
        lookups = HttpLookups(settings.lookup_origins)
    except BadValue as error:
        raise BadValue("CALLPLANE_POP_LOOKUP_ORIGINS", error.reason) from error
    keep = settings.uploaded_prompt_dir
    if keep is not None and not (keep.is_dir() and re.fullmatch(r"/[A-Za-z0-9._/-]*", str(keep))):
        reason = "is not the absolute path of a directory, of letters, digits, dots, dashes and slashes"
        raise BadValue("CALLPLANE_POP_UPLOADED_PROMPT_DIR", reason)
    uploaded: dict[str, str] = {}
    engine = build_engine(settings, uploaded)
    dialling = dialling_of(country, settings.outside_prefixes, settings.outside_trunk)
    index = prompt_index(settings.prompt_dir)
    shelf = PromptShelf(keep, index, uploaded, uploads.files)
    config = ConfigStore(regimes(), index, holidays_of, dialling)
    journal = SqliteJournal(settings.state_dir / JOURNAL)
    pseudonyms = Pseudonyms(journal.secret()) if hides_numbers(settings.pseudonyms, country) else None
    key_store = open_key_store(settings)
    vault = build_vault(settings, key_store)
    vault.clear()
    clock = SteadyClock(journal.last_at())
    recorder = Recorder(engine, vault, settings.recording_dir, clock, round(settings.recording_reserve_mb * 1e6))
    link: NatsLink | None = None
    if settings.bus_url:
        link = NatsLink(settings.bus_url, settings.id, settings.key.get_secret_value(), journal, pseudonyms=pseudonyms)
    languages = (*country.languages, "en")
    parking = ParkingLot(settings.park_first_slot, settings.park_slots, settings.park_timeout_s)
    pop = Pop(
        PopId(settings.id),
        engine,
        journal,
        recorder,
        vault,
        config,
        clock,
        languages=languages,
        lookups=lookups,
        keyed_codes=settings.keyed_codes,
        numbers=PlannedNumbers(settings.callback_hours),
        outbound=outbound_of(settings.cli_by_destination, settings.allowed_numbers, settings.outbound_queue),
        parking=parking,
        shelf=shelf,
        hidden=HiddenFiles(settings.hidden_dir or settings.recording_dir / "hidden"),
        witnesses=_witnesses(traces),
        pseudonyms=pseudonyms,
        mesh=link.mesh if link is not None else None,
        self_call_every_s=settings.self_call_s,
        of_system=clock.of_system,
    )
    clock.idle = lambda: not pop.calls
    lag, watch = LoopLag(), None
    if settings.metrics_port is not None:
        in_step = (lambda: journal.shadow.in_step) if settings.pair_address else None
        shown = PopWatch(pop, recorder, link, lag, log_counts, in_step)
        watch = WatchServer(settings.metrics_host, settings.metrics_port, shown.page, shown.ready)
    return Site(pop, link, watch, lag, to_standby(settings, journal, key_store))


def to_standby(settings: PopSettings, journal: SqliteJournal, store: KeyStore) -> Active | None:
    """What the active host of a pair tells the other. Raises BadValue."""
    if not settings.pair_address or settings.pair_tls_dir is None:
        return None
    recordings = PairedRecordings(settings.state_dir / RECORDINGS, settings.regions, store)
    places = (settings.uploaded_prompt_dir, settings.state_dir)
    return Active(settings.id, settings.pair_peer, settings.pair_tls_dir, journal, recordings, *places)


def build_standby(settings: PopSettings) -> Standby:
    """What follows the active host while this one has not the floating address. Raises BadValue, OSError."""
    if settings.pair_tls_dir is None:
        raise BadValue("CALLPLANE_POP_PAIR_TLS_DIR", "is needed")
    KeyFile(settings.key_file, frozenset(settings.regions))  # missing keys are said now, and not when it takes over
    recordings = PairedRecordings(settings.state_dir / RECORDINGS, settings.regions, open_key_store(settings))
    recordings.clear()
    return Standby(
        settings.id,
        settings.pair_listen,
        settings.pair_peer,
        settings.pair_tls_dir,
        JournalCopy(settings.state_dir / JOURNAL),
        recordings,
        settings.uploaded_prompt_dir,
        settings.state_dir,
        lineage.fits,
        lineage.is_ahead,
    )
