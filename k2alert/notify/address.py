"""Where messages go: addresses that are templates, filled in from the labels that only the configuration sets."""

from collections.abc import Callable

from k2alert.labels import Labels
from k2alert.model import Alert
from k2alert.notify import INTEGRATIONS
from k2alert.notify.route import Integration
from k2alert.notify.text import clean
from k2alert.template import compile_template

__all__ = ["address", "render_address"]

# Their values come from a forge, where anyone may push a branch; the configuration refuses them in addresses.
_FACT_LABELS = frozenset({"project", "branch", "workflow", "event", "ref_type", "job", "stage", "runner"})


def address(integration: Integration, alerts: tuple[Alert, ...]) -> str:
    """Where an integration would send a message about these alerts, as one text."""
    render = render_address(alerts)
    return "\n".join(INTEGRATIONS[integration.kind].addresses(integration.settings, render))


def render_address(alerts: tuple[Alert, ...]) -> Callable[[str], str]:
    """Fills in an address that is a template, from the configured labels that all the alerts share."""
    shared = dict(alerts[0].labels) if alerts else {}
    for alert in alerts[1:]:
        shared = {name: value for name, value in shared.items() if alert.labels.get(name) == value}
    labels = Labels({name: value for name, value in shared.items() if name not in _FACT_LABELS})

    def render(source: str) -> str:
        if "{" not in source:
            return source
        template = compile_template(source, names=("labels",), functions=())
        return template.render({"labels": labels}, escape=clean)

    return render
