"""Documents: runs that are written at once, as plain JSON until then: a measurement, the recommendation."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from mlflow import MlflowClient

from tuning.messages import Measurement
from tuning.record.runs import mark_deciding, write_measurement, write_recommendation
from tuning.record.tracker import Deciding, Files


class Document(Protocol):
    """What a run shows that is written at once; another one of its name takes its place."""

    @property
    def name(self) -> str:
        """What it is, for people."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Return it as `document_from` reads it."""
        ...

    def write(self, client: MlflowClient, experiment_id: str) -> None:
        """Write its run, in place of an earlier one."""
        ...


@dataclass(frozen=True)
class MeasurementDocument:
    """A measurement."""

    measurement: Measurement

    @property
    def name(self) -> str:
        """Its name among the measurements."""
        return f"measurement {self.measurement.name}"

    def to_json(self) -> dict[str, Any]:
        """Return the measurement's fields."""
        return {"measurement": asdict(self.measurement)}

    def write(self, client: MlflowClient, experiment_id: str) -> None:
        """Write the run of stage "measurement"."""
        write_measurement(client, experiment_id, self.measurement)


@dataclass(frozen=True)
class RecommendationDocument:
    """The recommendation.

    Args:
        markdown: For people.
        contents: The artifacts, by file name.
        deciding: The trials that decided, with the numbers of the table.
    """

    markdown: str
    contents: Files
    deciding: Deciding = field(default_factory=dict)
    name: str = "recommendation"

    def to_json(self) -> dict[str, Any]:
        """Return the texts as they are, and bytes in base 64."""
        files = {
            name: content if isinstance(content, str) else {"base64": base64.b64encode(content).decode()}
            for name, content in self.contents.items()
        }
        return {"markdown": self.markdown, "contents": files, "deciding": self.deciding}

    def write(self, client: MlflowClient, experiment_id: str) -> None:
        """Write the run named "recommendation", the experiment's description, and which runs decided."""
        write_recommendation(client, experiment_id, self.markdown, self.contents)
        mark_deciding(client, experiment_id, self.deciding)


def document_from(found: Mapping[str, Any]) -> Document:
    """Return what `to_json` gave.

    Raises:
        ValueError: If it is no document.
    """
    try:
        if "measurement" in found:
            fields = found["measurement"]
            return MeasurementDocument(Measurement(**{**fields, "series": tuple(map(tuple, fields["series"]))}))
        files = {
            name: content if isinstance(content, str) else base64.b64decode(content["base64"])
            for name, content in found["contents"].items()
        }
        return RecommendationDocument(str(found["markdown"]), files, dict(found.get("deciding", {})))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"A document must hold a measurement or a recommendation; got {error}.") from None
