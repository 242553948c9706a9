// Loaded before anything is drawn, so that the page does not flash in the other theme.
const theme = (() => {
  try {
    return localStorage.getItem("localops-theme");
  } catch {
    // Without storage, pages follow the system.
    return null;
  }
})();
if (theme) document.documentElement.dataset.theme = theme;
