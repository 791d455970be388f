"""Runs the code cells of a notebook in one namespace and keeps what each shows, without a kernel.

`python tests/docs/notebook_run.py docs/lpla.ipynb` writes the outputs of a run into the file.
"""

import ast
import base64
import io
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

Output = dict[str, Any]


def run(notebook: dict[str, Any]) -> list[list[Output]]:
    """Run every code cell; returns, for each, the outputs as a notebook holds them.

    A cell shows its text, the figures that are open at its end, and its last expression, by `_repr_html_` where it has
    one and by `repr` in any case, unless that is None.
    """
    import matplotlib

    matplotlib.use("Agg")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    return [_run_cell("".join(cell["source"]), namespace) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _run_cell(source: str, namespace: dict[str, Any]) -> list[Output]:
    from matplotlib import pyplot

    body = ast.parse(source).body
    last = body[-1] if body and isinstance(body[-1], ast.Expr) else None
    said, outputs = io.StringIO(), []
    with redirect_stdout(said):
        exec(compile(ast.Module(body[:-1] if last else body, []), "<cell>", "exec"), namespace)
        found = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace) if last else None
    if said.getvalue().strip():
        outputs.append({"output_type": "stream", "name": "stdout", "text": _lines(said.getvalue())})
    for number in pyplot.get_fignums():
        png = io.BytesIO()
        pyplot.figure(number).savefig(png, format="png", dpi=80, bbox_inches="tight")
        data = {"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "metadata": {}, "data": data})
    pyplot.close("all")
    if found is not None:
        data = {"text/plain": _lines(repr(found))}
        if hasattr(found, "_repr_html_"):
            data |= {"text/html": _lines(found._repr_html_())}
        outputs.append({"output_type": "execute_result", "metadata": {}, "data": data})
    return outputs


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def write(path: Path) -> None:
    """Run the notebook and write what its cells show into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for count, (cell, outputs) in enumerate(zip(cells, run(notebook), strict=True), 1):
        numbered = [
            one | {"execution_count": count} if one["output_type"] == "execute_result" else one for one in outputs
        ]
        cell |= {"execution_count": count, "outputs": numbered}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
