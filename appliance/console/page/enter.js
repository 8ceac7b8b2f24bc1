// Exchanges the token of the link for a cookie. It stands behind the #, which the
// browser keeps to itself, and is taken out of the address at once.
const said = document.getElementById("said");
const token = location.hash.slice(1);
history.replaceState(null, "", "/enter");

async function enter() {
  if (!token) {
    said.textContent = "To come in, open a link of this console: it was printed where the console was started. " +
      "Each link lets one browser in, once; somebody who is in can make a new one (menu: New link).";
    return;
  }
  const answer = await fetch("/enter", { method: "POST", body: JSON.stringify(token) });
  if (answer.ok) {
    location.replace("/");
    return;
  }
  const { error } = await answer.json();
  said.textContent = "Not let in: " + error + ".";
}

enter().catch(() => { said.textContent = "The console does not answer. Is it still running?"; });
