"""Archives as jobs upload them, and a storage that gives them out."""

import io
import zipfile
from collections.abc import Mapping

from aiohttp import web

from tests.support.faults import Fault


def archive(files: Mapping[str, str | bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of these files, by path."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", method) as made:
        for path, content in files.items():
            made.writestr(path, content)
    return written.getvalue()


def junit(outcomes: str, suite: str = "unit") -> str:
    """A test report, one test for each character: `+` passed, `-` failed, `s` was skipped."""
    inside = {"+": "", "-": '<failure message="no"/>', "s": "<skipped/>"}
    cases = (f'<testcase name="t{number}">{inside[char]}</testcase>' for number, char in enumerate(outcomes))
    return f'<testsuite name="{suite}">{"".join(cases)}</testsuite>'


def cobertura(covered: int, valid: int) -> str:
    """A coverage report of one source file."""
    inside = '<packages><package><classes><class filename="a.py"/></classes></package></packages>'
    return f'<coverage lines-covered="{covered}" lines-valid="{valid}">{inside}</coverage>'


def storage(archives: Mapping[str, bytes]) -> Fault:
    """A server of archives by number (`/12.zip`), as an object storage answers."""

    async def give(request: web.Request) -> web.StreamResponse:
        found = archives.get(request.path.removeprefix("/").removesuffix(".zip"))
        if found is None:
            return web.Response(
                status=404, text="<Error><Code>NoSuchKey</Code></Error>", content_type="application/xml"
            )
        return web.Response(body=found, content_type="application/zip")

    return give
