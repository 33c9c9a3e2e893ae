"""What a replica says at `/metrics`, read as Prometheus reads it."""

from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One look."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels; 0 where there is none."""
        return sum(
            sample.value for sample in self.samples if sample.name == name and labels.items() <= sample.labels.items()
        )

    def labels(self, name: str, label: str) -> set[str]:
        """The values that a label of a metric has."""
        return {sample.labels[label] for sample in self.samples if sample.name == name}

    @property
    def names(self) -> set[str]:
        """Of all samples, and of metrics that have none yet."""
        return {sample.name for sample in self.samples} | {
            f"{name}_total" if family.type == "counter" else name for name, family in self.families.items()
        }


async def scrape(client: AsyncClient) -> Scrape:
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return Scrape(answer.text)
