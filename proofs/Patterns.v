(** The most that one rank's content can be worth: a table of fronts, proved to miss nothing. *)

From Coq Require Import List Arith ZArith Lia Bool.
Import ListNotations.
Open Scope Z_scope.

(** What may enter a rank once: it takes [count] slots and has one of [options] (weight, value). *)
Record item := Item { count : nat; options : list (Z * Z) }.

(** [content items c w v]: some of the items, each with one option, take [c] slots, weigh [w] and are worth [v]. *)
Inductive content : list item -> nat -> Z -> Z -> Prop :=
| nothing : content [] 0 0 0
| without i items c w v : content items c w v -> content (i :: items) c w v
| including i items c w v w' v' :
    In (w', v') (options i) -> content items c w v -> content (i :: items) (count i + c) (w' + w) (v' + v).

(** (weight, value) pairs; kept by increasing weight and value, which makes them few. No proof needs the order. *)
Notation front := (list (Z * Z)).

(** No heavier and worth no less. *)
Definition dominates (x y : Z * Z) : bool := (fst x <=? fst y) && (snd y <=? snd x).

(** Lighter first; of equal weight, the dearer first. *)
Definition ahead (x y : Z * Z) : bool :=
  match fst x ?= fst y with Lt => true | Gt => false | Eq => snd y <=? snd x end.

(** Both fronts in order, without what [last], the pair kept before, dominates. *)
Fixpoint join (l1 : front) : Z * Z -> front -> front :=
  fix with_second last l2 :=
    match l1, l2 with
    | [], [] => []
    | x :: t1, [] => if dominates last x then join t1 last [] else x :: join t1 x []
    | [], y :: t2 => if dominates last y then with_second last t2 else y :: with_second y t2
    | x :: t1, y :: t2 =>
        if ahead x y then if dominates last x then join t1 last l2 else x :: join t1 x l2
        else if dominates last y then with_second last t2 else y :: with_second y t2
    end.

(** Dominates nothing of value >= 0. *)
Definition before : Z * Z := (0, -1).

Section Table.
(** Contents heavier than [limit] do not matter, nor does worth beyond [worth]. *)
Variables limit worth : Z.

Definition add (option : Z * Z) (f : front) : front :=
  let (w, v) := option in
  filter (fun x => fst x <=? limit) (map (fun x => (w + fst x, Z.min (v + snd x) worth)) f).

Definition extend (i : item) (old source : front) : front :=
  fold_right (fun o new => join (add o source) before new) old (options i).

Fixpoint zip (f : front -> front -> front) (l l' : list front) : list front :=
  match l, l' with x :: t, y :: t' => f x y :: zip f t t' | _, _ => [] end.

(** Entry [c]: contents that take [c] slots. *)
Fixpoint table (slots : nat) (items : list item) : list front :=
  match items with
  | [] => [(0, 0)] :: repeat [] slots
  | i :: rest => let t := table slots rest in zip (extend i) t (repeat [] (count i) ++ t)
  end.
End Table.

Definition worth_at_most (cap : Z) (f : front) : bool := forallb (fun x => snd x <=? cap) f.

(** Every content of at most (exactly, if [exact]) [slots] slots and of weight at most [limit] is worth at most [cap]. *)
Definition within_cap (slots : nat) (exact : bool) (cap limit : Z) (items : list item) : bool :=
  let t := table limit (cap + 1) slots items in
  if exact then worth_at_most cap (nth slots t []) else forallb (worth_at_most cap) t.

(** * Soundness *)

Definition covered (f : front) (w v : Z) : Prop := exists x, In x f /\ fst x <= w /\ v <= snd x.

Lemma dominates_spec x y : dominates x y = true <-> fst x <= fst y /\ snd y <= snd x.
Proof. unfold dominates. rewrite andb_true_iff, !Z.leb_le. tauto. Qed.

Lemma join_covers l1 : forall l2 last y, In y l1 \/ In y l2 ->
  dominates last y = true \/ exists x, In x (join l1 last l2) /\ dominates x y = true.
Proof.
  assert (R : forall y, dominates y y = true) by (intros; apply dominates_spec; lia).
  induction l1 as [|a t1 IH1]; induction l2 as [|b t2 IH2]; intros last y HI.
  - destruct HI as [[]|[]].
  - simpl. destruct (dominates last b) eqn:E.
    + destruct HI as [[]|[<-|HI]]; [auto|apply IH2; auto].
    + destruct HI as [[]|[<-|HI]]; [right; exists b; simpl; auto|].
      right. destruct (IH2 b y (or_intror HI)) as [H|(z & Hz & H)]; [exists b|exists z]; simpl; auto.
  - simpl. destruct (dominates last a) eqn:E.
    + destruct HI as [[<-|HI]|[]]; [auto|apply IH1; auto].
    + destruct HI as [[<-|HI]|[]]; [right; exists a; simpl; auto|].
      right. destruct (IH1 [] a y (or_introl HI)) as [H|(z & Hz & H)]; [exists a|exists z]; simpl; auto.
  - simpl. destruct (ahead a b).
    + destruct (dominates last a) eqn:E.
      * destruct HI as [[<-|HI]|HI]; [auto| |]; apply IH1; auto.
      * right. destruct HI as [[<-|HI]|HI]; [exists a; simpl; auto| |].
        -- destruct (IH1 (b :: t2) a y (or_introl HI)) as [H|(z & Hz & H)]; [exists a|exists z]; simpl; auto.
        -- destruct (IH1 (b :: t2) a y (or_intror HI)) as [H|(z & Hz & H)]; [exists a|exists z]; simpl; auto.
    + destruct (dominates last b) eqn:E.
      * destruct HI as [HI|[<-|HI]]; [|auto|]; apply IH2; auto.
      * right. destruct HI as [HI|[<-|HI]]; [|exists b; simpl; auto|].
        -- destruct (IH2 b y (or_introl HI)) as [H|(z & Hz & H)]; [exists b|exists z]; simpl; auto.
        -- destruct (IH2 b y (or_intror HI)) as [H|(z & Hz & H)]; [exists b|exists z]; simpl; auto.
Qed.

Lemma join_keeps l1 l2 w v : 0 <= v -> covered l1 w v \/ covered l2 w v -> covered (join l1 before l2) w v.
Proof.
  intros Hv H. assert (exists y, (In y l1 \/ In y l2) /\ fst y <= w /\ v <= snd y) as (y & HI & Hw & Hy).
  { destruct H as [(y & HI & H)|(y & HI & H)]; exists y; auto. }
  destruct (join_covers l1 l2 before y HI) as [H'|(x & Hx & H')]; apply dominates_spec in H'; simpl in H'; [lia|].
  exists x. split; [assumption|lia].
Qed.

Section Sound.
Variables limit worth : Z.
Hypothesis worth_nonneg : 0 <= worth.

Lemma add_covers w' v' f w v : 0 <= v' -> w' + w <= limit ->
  covered f w (Z.min v worth) -> covered (add limit worth (w', v') f) (w' + w) (Z.min (v' + v) worth).
Proof.
  intros Hv HL (x & HI & Hw & Hx). exists (w' + fst x, Z.min (v' + snd x) worth). simpl. split; [|lia].
  apply filter_In. split; [|apply Z.leb_le; simpl; lia]. apply in_map_iff. exists x. auto.
Qed.

Lemma extend_keeps i old source w v : 0 <= v -> covered old w v -> covered (extend limit worth i old source) w v.
Proof.
  intros Hv H. unfold extend. induction (options i) as [|o l IH]; simpl; [assumption|].
  apply join_keeps; auto.
Qed.

Lemma extend_adds i old source w v w' v' : In (w', v') (options i) -> 0 <= v' -> 0 <= v -> w' + w <= limit ->
  covered source w (Z.min v worth) -> covered (extend limit worth i old source) (w' + w) (Z.min (v' + v) worth).
Proof.
  intros HI Hv' Hv HL H. unfold extend. induction (options i) as [|o l IH]; simpl in *; [contradiction|].
  destruct HI as [->|HI]; apply join_keeps; try lia; [left; apply add_covers|right]; auto.
Qed.

Lemma nth_zip f : forall l l' n, (n < length l)%nat -> (n < length l')%nat -> nth n (zip f l l') [] = f (nth n l []) (nth n l' []).
Proof.
  induction l as [|x l IH]; intros [|y l'] n H H'; simpl in *; try lia.
  destruct n; [reflexivity|apply IH; lia].
Qed.

Lemma zip_length f : forall l l', (length l <= length l')%nat -> length (zip f l l') = length l.
Proof. induction l as [|x l IH]; intros [|y l'] H; simpl in *; try lia. rewrite IH; lia. Qed.

Lemma table_length slots items : length (table limit worth slots items) = S slots.
Proof.
  induction items as [|i items IH]; simpl; [rewrite repeat_length; reflexivity|].
  rewrite zip_length; [assumption|]. rewrite app_length. lia.
Qed.

Definition nonneg (i : item) : Prop := Forall (fun o => 0 <= fst o /\ 0 <= snd o) (options i).

Lemma content_nonneg items c w v : Forall nonneg items -> content items c w v -> 0 <= w /\ 0 <= v.
Proof.
  intros HN HC. induction HC as [|i items c w v _ IH|i items c w v w' v' HI _ IH]; [lia| |]; inversion HN as [|? ? H HN']; subst.
  - auto.
  - unfold nonneg in H. rewrite Forall_forall in H. specialize (H _ HI); simpl in H. specialize (IH HN'). lia.
Qed.

(** Every content has an entry that is no heavier and, up to [worth], worth no less. *)
Lemma table_covers slots items c w v : Forall nonneg items -> content items c w v -> (c <= slots)%nat -> w <= limit ->
  covered (nth c (table limit worth slots items) []) w (Z.min v worth).
Proof.
  intros HN HC. revert HN. induction HC as [|i items c w v HC IH|i items c w v w' v' HI HC IH]; intros HN Hc Hw.
  - exists (0, 0). simpl. split; [auto|lia].
  - inversion HN as [|? ? Hi HN']; subst. destruct (content_nonneg items c w v HN' HC) as [H0 H1].
    simpl table. rewrite nth_zip; rewrite ?app_length, ?table_length; try lia.
    apply extend_keeps; [lia|]. auto.
  - inversion HN as [|? ? Hi HN']; subst. destruct (content_nonneg items c w v HN' HC) as [H0 H1].
    unfold nonneg in Hi. rewrite Forall_forall in Hi. specialize (Hi _ HI); simpl in Hi.
    simpl table. rewrite nth_zip; rewrite ?app_length, ?table_length; try lia.
    apply extend_adds; try lia; [assumption|].
    rewrite app_nth2; rewrite repeat_length; [|lia]. replace (count i + c - count i)%nat with c by lia.
    apply IH; [assumption|lia|lia].
Qed.
End Sound.

Theorem within_cap_sound slots exact cap limit items c w v :
  within_cap slots exact cap limit items = true -> 0 <= cap -> Forall nonneg items ->
  content items c w v -> (c <= slots)%nat -> (exact = true -> c = slots) -> w <= limit -> v <= cap.
Proof.
  intros HK Hcap HN HC Hc HE Hw.
  destruct (table_covers limit (cap + 1) ltac:(lia) slots items c w v HN HC Hc Hw) as (x & HI & _ & Hx).
  assert (H : worth_at_most cap (nth c (table limit (cap + 1) slots items) []) = true).
  { unfold within_cap in HK. destruct exact.
    - rewrite HE by reflexivity. assumption.
    - rewrite forallb_forall in HK. apply HK, nth_In. rewrite table_length. lia. }
  unfold worth_at_most in H. rewrite forallb_forall in H. specialize (H x HI). apply Z.leb_le in H. lia.
Qed.
