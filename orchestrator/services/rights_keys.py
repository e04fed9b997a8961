"""The centre's keys for the rights of persons: each is derived from its secrets key, so that all centres of a database
have the same and there is no further file to lose."""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.domain import certificates, subject
from orchestrator.services.secret_box import SecretBox
from pbx.domain.forgetting import digest


@dataclass(frozen=True, slots=True)
class RightsKeys:
    box: SecretBox

    @property
    def seed(self) -> bytes:
        """Of the key that signs certificates."""
        return self.box.derived("certificates")

    @property
    def numbers(self) -> bytes:
        """Of the keyed hashes of numbers."""
        return self.box.derived("numbers")

    def numbers_at(self, pop_id: str) -> bytes:
        """The same for one POP: what it learns of one erasure helps it with nobody else's hashes."""
        return self.box.derived(f"numbers of {pop_id}")

    @property
    def public(self) -> str:
        return certificates.public_key(self.seed)

    def subject(self, number: str) -> str:
        return digest(self.numbers, number)

    def digests(self, number: str) -> list[str]:
        return subject.digests(self.numbers, number)

    def digests_at(self, pop_id: str, number: str) -> list[str]:
        return subject.digests(self.numbers_at(pop_id), number)

    def seal(self, number: str, about: str) -> bytes:
        return self.box.seal(number, about)
