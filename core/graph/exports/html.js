// Shows the sentences of what is clicked. `network` is pyvis's own variable. Text only, never markup.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const place = document.getElementById("sentences");

  function add(parent, tag, text, name) {
    const element = document.createElement(tag);
    element.textContent = text;
    element.dir = "auto";
    if (name) element.className = name;
    parent.append(element);
    return element;
  }

  function show(item) {
    place.replaceChildren();
    add(place, "h2", item.title);
    add(place, "p", item.kind, "kind");
    for (const [row, sentence] of item.seen) {
      const quote = add(place, "blockquote", sentence);
      add(quote, "span", data.row.replace("{row}", row), "row");
    }
  }

  network.on("click", (event) => {
    if (event.nodes.length) show(data.nodes[event.nodes[0]]);
    else if (event.edges.length) show(data.edges[event.edges[0]]);
    else place.replaceChildren();
  });
  network.once("afterDrawing", () => network.fit());
})();
