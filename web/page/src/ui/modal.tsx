import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Icon } from "./icon.tsx";

/** The browser's own dialog: it keeps the focus inside, closes on Escape and gives the focus back. */
export function Modal(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => dialog.current?.showModal(), []);
  const closeOnBackdrop = (event: MouseEvent) => {
    if (event.target === dialog.current) dialog.current?.close();
  };
  return (
    <dialog ref={dialog} class="modal" aria-labelledby={titleId} onClose={props.onClose} onClick={closeOnBackdrop}>
      <div class="modal-body">
        <header>
          <h2 id={titleId}>{props.title}</h2>
          <button type="button" class="icon-button" onClick={() => dialog.current?.close()}>
            <Icon name="close" />
            <span class="hidden">Close</span>
          </button>
        </header>
        {props.children}
      </div>
    </dialog>
  );
}
