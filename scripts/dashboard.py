"""The Grafana dashboard, built with Grafana's typed SDK: `make docs` writes it, a test holds the file to this.

In: the panels of `panels`. Out: `deploy/grafana/dashboards/k2alert.json`.
"""

from collections.abc import Iterable, Iterator

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement, TooltipDisplayMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh, VariableSort

from scripts.panels import PANELS, Panel

__all__ = ["page"]

_WIDE, _NARROW = 12, 6  # of Grafana's 24 columns


def page(panels: Iterable[Panel] = PANELS) -> str:
    """The dashboard as JSON."""
    board = (
        Dashboard("k2alert")
        .uid("k2alert")
        .tags(["ci", "k2alert"])
        .readonly()
        .refresh("1m")
        .time("now-24h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for variable in _variables():
        board = board.with_variable(variable)
    row = ""
    for panel in panels:
        if panel.row != row:
            row = panel.row
            board = board.with_row(Row(row))
        board = board.with_panel(_draw(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _variables() -> Iterator[DatasourceVariable | QueryVariable]:
    yield DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    for name, metric, many in (
        ("source", "k2alert_projects", True),
        ("project", 'k2alert_ci_runs_finished{source=~"$source"}', True),
        ("window", "k2alert_ci_runs_finished", False),
    ):
        variable = (
            QueryVariable(name)
            .label(name)
            .datasource(_datasource())
            .query(f"label_values({metric}, {name})")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(VariableSort.ALPHABETICAL_ASC)
        )
        yield variable.multi(True).include_all(True).all_value(".*") if many else variable


def _datasource() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid="${datasource}")


def _draw(panel: Panel) -> stat.Panel | timeseries.Panel:
    if panel.now:
        number = stat.Panel().title(panel.title).description(panel.says).unit(panel.unit).span(_NARROW).height(4)
        drawn: stat.Panel | timeseries.Panel = number.datasource(_datasource())
    else:
        legend = (
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        lines = timeseries.Panel().title(panel.title).description(panel.says).unit(panel.unit).span(_WIDE).height(8)
        lines = lines.datasource(_datasource()).legend(legend).min(0).fill_opacity(5)
        drawn = lines.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    for place, query in enumerate(panel.queries):
        target = prometheus.Dataquery().expr(query.expression).legend_format(query.legend).ref_id(chr(65 + place))
        drawn = drawn.with_target(target.instant() if panel.now else target.range())
    return drawn


if __name__ == "__main__":
    print(page(), end="")
