/* Which nodes a wire passes behind, on the canvas at hand: [[wire, node], ...]. The wires are asked where they were drawn. */
() => {
  const graph = app.rootGraph ?? app.graph;
  app.canvas.draw(true, true);
  const context = document.createElement("canvas").getContext("2d");
  context.lineCap = "round";
  /** Whether a path passes through a box: boxes that are near it are halved, until they are as small as a wire is wide. */
  const passes = (path, left, top, width, height) => {
    if (width <= 0 || height <= 0) return false;
    context.lineWidth = Math.hypot(width, height); // all of a box is as near to its middle as half of that
    if (!context.isPointInStroke(path, left + width / 2, top + height / 2)) return false;
    if (Math.max(width, height) <= 4) return true;
    const [w, h] = width > height ? [width / 2, height] : [width, height / 2];
    return passes(path, left, top, w, h) || passes(path, left + width - w, top + height - h, w, h);
  };
  const found = new Set();
  for (const link of graph.links.values()) {
    const segments = [link];
    for (let id = link.parentId; id !== undefined; id = graph.reroutes.get(id)?.parentId) segments.push(graph.reroutes.get(id));
    for (const segment of segments) {
      if (!segment?.path) throw new Error(`A part of wire ${link.id} was not drawn.`);
      for (const node of graph.nodes) {
        const [left, top, width, height] = node.getBounding();
        // What only touches an edge is not behind; a wire's own nodes have its ends inside.
        const inset = node.id === link.origin_id || node.id === link.target_id ? 24 : 6;
        if (passes(segment.path, left + inset, top + 6, width - 2 * inset, height - 12))
                  found.add(`${link.origin_id}.${link.origin_slot} to ${link.target_id}.${link.target_slot} behind ${node.id} ${node.type}`);
      }
    }
  }
  return [...found];
}
