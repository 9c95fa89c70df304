"""Reports as one HTML file: text and inline SVG, nothing fetched, light and dark, made of a few parts.

`elements` escapes, `scale` makes ticks and numbers, `lines`, `bars`, `scatter` and `table` draw, `over_time` turns series into
charts, `page` puts parts into a document, `standalone` one chart into an SVG file. `of_result`, `of_comparison`, `of_sweep`,
`of_estimate` and `of_advice` choose the parts. Everything is a pure function from data to text; scripts only add sorting and a
read-out under the pointer.
"""
