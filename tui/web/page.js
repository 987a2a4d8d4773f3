// Where the socket is, before the terminal looks for it; and no link that a model has written is ever opened.
window.open = () => null;
document.addEventListener("DOMContentLoaded", () => {
  const socket = new URL("socket", window.location.href);
  socket.protocol = "ws:";
  document.getElementById("terminal").dataset.sessionWebsocketUrl = socket.href;
  document.getElementById("again").addEventListener("click", () => window.location.reload());
});
