// Loaded before anything is drawn, so that the page never flashes in the other theme.
const theme = (() => {
  try {
    return localStorage.getItem("localops-theme");
  } catch {
    return null; // a browser that keeps nothing follows the system
  }
})();
if (theme) document.documentElement.dataset.theme = theme;
