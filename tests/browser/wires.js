/* Which nodes a wire passes behind, on the canvas at hand: [[wire, node], ...]. The wires are asked where they were drawn. */
() => {
  const graph = app.rootGraph ?? app.graph;
  app.canvas.draw(true, true);
  const context = document.createElement("canvas").getContext("2d");
  context.lineWidth = 7; // as wide as the steps below
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
        const hit = () => {
          for (let x = left + inset; x <= left + width - inset; x += 6)
            for (let y = top + 6; y <= top + height - 6; y += 6)
              if (context.isPointInStroke(segment.path, x, y)) return true;
          return false;
        };
        if (hit()) found.add(`${link.origin_id}.${link.origin_slot} to ${link.target_id}.${link.target_slot} behind ${node.id} ${node.type}`);
      }
    }
  }
  return [...found];
}
