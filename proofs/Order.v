(** Lists up to their order, and in descending order of a weight, by insertion. *)

From Coq Require Import List ZArith Lia Permutation Sorted.
Import ListNotations.
Open Scope Z_scope.

Lemma concat_permutation {A} (l l' : list (list A)) : Permutation l l' -> Permutation (concat l) (concat l').
Proof.
  induction 1; simpl; [reflexivity| | |etransitivity; eassumption].
  - apply Permutation_app_head. assumption.
  - rewrite !app_assoc. apply Permutation_app_tail, Permutation_app_comm.
Qed.

Lemma partition_filter {A} (f : A -> bool) l : Permutation (filter f l ++ filter (fun y => negb (f y)) l) l.
Proof.
  induction l as [|y l IH]; simpl; [constructor|]. destruct (f y); simpl; [constructor; exact IH|].
  rewrite <- Permutation_middle. constructor. exact IH.
Qed.

Section Order.
Context {A : Type} (w : A -> Z).

Fixpoint insert (e : A) (l : list A) : list A :=
  match l with [] => [e] | f :: t => if w f <=? w e then e :: l else f :: insert e t end.

(** Heaviest first; of equal weight, in the order given. *)
Definition sort (l : list A) : list A := fold_right insert [] l.

Definition descending (l : list A) : Prop := StronglySorted (fun e f => w f <= w e) l.

Lemma insert_permutation e l : Permutation (insert e l) (e :: l).
Proof.
  induction l as [|f l IH]; simpl; [reflexivity|]. destruct (w f <=? w e); [reflexivity|].
  rewrite IH. constructor.
Qed.

Lemma sort_permutation l : Permutation (sort l) l.
Proof. induction l as [|e l IH]; simpl; [constructor|]. rewrite insert_permutation, IH. reflexivity. Qed.

Lemma insert_descending e l : descending l -> descending (insert e l).
Proof.
  unfold descending. induction 1 as [|f l H IH HF]; simpl; [repeat constructor|].
  destruct (w f <=? w e) eqn:E; [apply Z.leb_le in E|apply Z.leb_gt in E].
  - constructor; [constructor; assumption|]. constructor; [assumption|].
    eapply Forall_impl; [|exact HF]. intros g Hg; simpl in Hg. lia.
  - constructor; [assumption|]. apply (Permutation_Forall (Permutation_sym (insert_permutation e l))).
    constructor; [lia|assumption].
Qed.

Lemma sort_descending l : descending (sort l).
Proof. induction l; simpl; [constructor|apply insert_descending; assumption]. Qed.

Lemma descending_app l l' : descending (l ++ l') ->
  descending l /\ descending l' /\ forall e f, In e l -> In f l' -> w f <= w e.
Proof.
  unfold descending. induction l as [|e l IH]; simpl; intros H; [repeat split; try constructor; easy|].
  inversion H as [|? ? H1 H2]; subst. destruct (IH H1) as (B & C & D). apply Forall_app in H2 as [H2 H3].
  repeat split; [constructor; assumption|assumption|].
  intros x y [<-|Hx] Hy; [rewrite Forall_forall in H3; apply (H3 y Hy)|apply D; assumption].
Qed.
End Order.
