// Browsers start no worker for a page that was opened from the disk, and the site's search is one. There it runs in a
// frame that is not shown.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      this.waiting = []; // messages that came before the script was there
      const frame = Object.assign(document.createElement("iframe"), { hidden: true, title: "search" });
      document.body.append(frame);
      this.scope = frame.contentWindow;
      this.scope.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }));
      this.load(url).then(() => {
        const waiting = this.waiting;
        this.waiting = null;
        waiting.forEach((data) => this.postMessage(data));
      });
      this.scope.importScripts = (...urls) => Promise.all(urls.map((each) => this.load(each)));
    }

    load(url) {
      const script = Object.assign(this.scope.document.createElement("script"), { src: url });
      this.scope.document.head.append(script);
      return new Promise((done) => (script.onload = done));
    }

    postMessage(data) {
      if (this.waiting) this.waiting.push(data);
      else this.scope.dispatchEvent(new MessageEvent("message", { data }));
    }

    terminate() {}
  };
}
