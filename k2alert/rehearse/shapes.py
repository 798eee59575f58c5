"""The made-up projects of the rehearsals: what their pipelines consist of, and how often they run.

Stages and their longest times are those of a usual Python service: validate within 2 minutes, unit tests within 5,
integration tests within 15, performance tests within 20 (they warn only), end-to-end tests within 10.
"""

from dataclasses import dataclass

__all__ = ["PROJECTS", "Shape", "Step"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A job as a project defines it. It usually takes `usual` minutes and never more than `most`."""

    name: str
    stage: str
    usual: float
    most: float
    parallel: int = 1
    default_only: bool = False  # runs on the default branch only
    allow_failure: bool = False
    tags: tuple[str, ...] = ("linux",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A project: its jobs in the order of their stages, how many pipelines a working day sees, what it is about."""

    path: str
    steps: tuple[Step, ...]
    a_day: float
    default_branch: str = "main"
    nightly: bool = False  # a scheduled pipeline at two in the morning
    weekly_tag: bool = False  # a release on Wednesdays
    things: tuple[str, ...]

    def steps_on(self, ref: str) -> tuple[Step, ...]:
        """The jobs of a pipeline for a ref."""
        return tuple(step for step in self.steps if ref == self.default_branch or not step.default_only)


_LINT = Step(name="lint", stage="validate", usual=0.6, most=2)
_TYPES = Step(name="type_check", stage="validate", usual=1.0, most=2)
_SECURITY = Step(name="security_scan", stage="validate", usual=1.1, most=2)
_UNIT = Step(name="test_unit", stage="test_unit", usual=2.6, most=5)
_INTEGRATION = Step(
    name="test_integration", stage="test_integration", usual=7.2, most=15, parallel=2, tags=("docker", "linux")
)
_PERFORMANCE = Step(
    name="test_performance",
    stage="test_performance",
    usual=5.0,
    most=20,
    default_only=True,
    allow_failure=True,
    tags=("bare-metal",),
)
_BUILD = Step(name="build", stage="build", usual=1.8, most=6, tags=("docker", "linux"))
_E2E = Step(name="test_e2e", stage="test_e2e", usual=3.8, most=10, default_only=True, tags=("docker", "linux"))

_SERVICE = (_LINT, _TYPES, _SECURITY, _UNIT, _INTEGRATION, _PERFORMANCE, _BUILD, _E2E)

_APP = (
    _LINT,
    _UNIT,
    Step(name="build_android", stage="build", usual=5.5, most=60, tags=("android",)),
    Step(name="build_ios", stage="build", usual=6.0, most=60, tags=("macos",)),
    Step(name="test_devices", stage="test_devices", usual=5.0, most=15, parallel=3, tags=("devices",)),
)

_IMAGES = (
    _LINT,
    Step(name="build_amd64", stage="build", usual=4.0, most=12, tags=("docker", "linux")),
    Step(name="build_arm64", stage="build", usual=5.2, most=15, tags=("arm64", "docker")),
    Step(name="scan_images", stage="scan", usual=1.5, most=5),
)

_SITE = (
    Step(name="check_links", stage="validate", usual=0.5, most=2),
    Step(name="render", stage="build", usual=0.8, most=3),
    Step(name="publish", stage="publish", usual=0.4, most=2, default_only=True),
)

PROJECTS: tuple[Shape, ...] = (
    Shape(
        path="shop/checkout",
        steps=_SERVICE,
        a_day=52,
        nightly=True,
        things=("vouchers", "the payment client", "the basket", "tax rules", "the order events"),
    ),
    Shape(
        path="shop/search",
        steps=(_LINT, _TYPES, _UNIT, _INTEGRATION, _BUILD),
        a_day=30,
        nightly=True,
        things=("synonyms", "the ranking", "the index writer", "facets", "typing suggestions"),
    ),
    Shape(
        path="mobile/app",
        steps=_APP,
        a_day=30,
        weekly_tag=True,
        things=("the sign-in screen", "push messages", "offline mode", "the font sizes", "deep links"),
    ),
    Shape(
        path="platform/runner-images",
        steps=_IMAGES,
        a_day=14,
        nightly=True,
        things=("the base image", "the compiler", "the cache volume", "certificates"),
    ),
    Shape(
        path="docs/handbook",
        steps=_SITE,
        a_day=16,
        things=("the on-call page", "the release notes", "spelling", "the onboarding guide"),
    ),
)
"""Five projects of one company. On a working day they run some 140 pipelines."""
