"""A request goes to the attempt as JSON, and arrives as it was."""

import json
from datetime import timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from nbprod.core.runner import AttemptRequest
from nbprod.core.scraps import ScrapDeclaration, ScrapType

bounds = st.none() | st.floats(allow_nan=False, allow_infinity=False)
declarations = st.builds(
    ScrapDeclaration,
    name=st.text(),
    type=st.sampled_from(ScrapType),
    range=st.none() | st.tuples(bounds, bounds),
    unit=st.text(),
    higher_is_better=st.none() | st.booleans(),
    required=st.booleans(),
    description=st.text(),
)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)
requests = st.builds(
    AttemptRequest,
    run=texts,
    template=texts,
    fence=st.integers(),
    folder=texts.map(Path),
    notebook=texts.map(Path),
    parameters=st.dictionaries(st.text(), st.integers() | st.text() | st.none()),
    injected=st.text(),
    cwd=texts.map(Path),
    workspace=texts.map(Path),
    kernel=st.text(),
    environment=st.dictionaries(texts, texts),
    timeout=st.none() | st.integers(0, 10**6).map(lambda number: timedelta(seconds=number)),
    artifacts=st.text(),
    grace=st.integers(0, 100).map(lambda number: timedelta(seconds=number)),
    contract=st.lists(declarations, max_size=3).map(tuple),
)


@given(requests)
def test_a_request_survives_the_way_to_another_process(request_: AttemptRequest) -> None:
    text = json.dumps(request_.to_json())

    assert AttemptRequest.from_json(json.loads(text)) == request_
