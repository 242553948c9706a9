export class Figures { constructor() { this.element = document.createElement("div"); } changed() {} }
